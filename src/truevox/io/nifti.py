"""NIfTI-1 and NIfTI-2: one file (.nii, .nii.gz) or a pair (.hdr, .img). Headers are nibabel's."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from truevox.errors import CaseError, FileError, GeometryError
from truevox.io.beside import pair_of
from truevox.io.guard import checked_type, damaged, foreign
from truevox.io.header import Header
from truevox.io.registry import Box, Voxels, native, reader, writer
from truevox.io.streams import Block, first_bytes, write_gzip
from truevox.space import Grid

if TYPE_CHECKING:
    from truevox.image import Image

__all__ = ["read_nifti", "read_nifti_pair", "write_nifti"]

_SIZES = {348: "Nifti1Header", 540: "Nifti2Header"}
_LONGEST_HEADER = 544
_INTENT_LABEL = 1002
_GEOMETRY = (
    *("sform_code", "srow_x", "srow_y", "srow_z", "qform_code", "quatern_b", "quatern_c", "quatern_d"),
    *("qoffset_x", "qoffset_y", "qoffset_z", "xyzt_units", "pixdim"),
)
# A quaternion in float32 that turns by nearly 180 degrees loses its scalar part (below 1e-3): up to
# 1.5e-3 rad. Files by ITK of oblique scans do this; they are not contradictory.
_LOST_SCALAR = 1e-3
_LOST_ANGLE = 1.5e-3
_TOLERANCE_MM = 0.1
_SPACES = {1: "scanner", 2: "aligned", 3: "Talairach", 4: "MNI", 5: "template"}
# NIfTI has no word for lengths that nobody knows. Where its unit is left open, this description says so.
_PIXELS = b"TrueVox, lengths in px"
# Of the three low bits of xyzt_units and of the three above.
_MILLIMETRES = {1: 1000.0, 3: 0.001}
_SECONDS = {8: 1.0, 16: 1e-3, 24: 1e-6}


@reader(".nii", ".nii.gz")
def read_nifti(path: Path) -> tuple[Header, Voxels]:
    """Open a NIfTI file: its header, and its voxels (C, I, J, K), scaled, on demand.

    The affine is the sform if its code is positive, else the qform, else spacing alone (as nibabel); in
    millimetres, whatever the header's unit (as ITK). Where sform and qform place the image differently, and
    have different codes, they are two spaces (as the standard has it): the sform is used, with a note. With
    one code they contradict each other, but for a qform that only lacks the sform's shear.

    Raises
    ------
    FileError
        If the file is missing, unreadable, truncated, damaged or no NIfTI.
    GeometryError
        If the affine is singular or not finite, or sform and qform contradict each other.
    CaseError
        If the file has more than one axis beyond the third.
    """
    return _open(path, path, "single")


@reader(".hdr", ".hdr.gz", ".img", ".img.gz")
def read_nifti_pair(path: Path) -> tuple[Header, Voxels]:
    """Open a pair of header and voxels by either name. ANALYZE 7.5, which looks alike, is refused.

    Raises
    ------
    FileError, GeometryError, CaseError
        As :func:`read_nifti`.
    """
    header, voxels = pair_of(path)
    return _open(header, voxels, "pair")


def _open(path: Path, data: Path, form: str) -> tuple[Header, Voxels]:
    packed = path.name.lower().endswith(".gz")
    raw = _parse(first_bytes(path, _LONGEST_HEADER, packed=packed), path, form)
    shape = _shape(raw, path)
    stored, slope, inter = _stored(raw, path)
    offset = _offset(raw, path, form)
    block = Block(data, shape, stored, offset, packing="gzip" if packed else None)
    block.check()
    grid, notes = _grid(raw, shape, path)
    if _in_pixels(raw):
        grid = Grid(grid.shape, grid.affine, "px")
        notes = notes or ("no spacing: lengths are in pixels (px)",)
    kind = _scaled(stored, slope, inter)

    def voxels(box: Box) -> NDArray:
        array = block.read(box)
        if kind == stored.newbyteorder("="):
            return native(array)
        with np.errstate(all="ignore"):
            scaled = array.astype(kind)
            scaled *= kind.type(slope)
            scaled += kind.type(inter)
        return scaled

    # What scaled integers can hold lies a slope apart.
    step = abs(slope) if stored.kind in "iu" and kind.kind == "f" else 0.0
    return Header(path, grid, shape[3], kind.name, raw.binaryblock, notes, _times(raw), step=step), voxels


@writer(".nii", ".nii.gz")
def write_nifti(path: Path, voxels: NDArray, image: Image, header: Header | None) -> None:
    """Write voxels (C, I, J, K) as NIfTI, channels last; one channel makes a 3D file.

    A NIfTI ``header`` keeps its sform, qform and codes; without it both are the grid's affine
    with code 1 (scanner), the qform only where a quaternion can hold it (no shear).
    """
    import nibabel

    grid = image.grid
    block = voxels[0] if len(voxels) == 1 else np.moveaxis(voxels, 0, -1)
    raw = None if header is None else _kept(header.raw, block, grid)
    if raw is None:
        raw = (nibabel.Nifti2Header if max(block.shape) > 32767 else nibabel.Nifti1Header)(endianness="<")
        raw.set_xyzt_units("mm" if grid.unit == "mm" else "unknown")
        raw.set_data_shape(block.shape)
        raw.set_data_dtype(block.dtype)
        raw.set_zooms([*grid.spacing, 1.0][: block.ndim])
        _set_affines(raw, grid)
    _set_times(raw, header, len(voxels))
    raw["descrip"] = b"TrueVox" if grid.unit == "mm" else _PIXELS
    raw["intent_code"] = _INTENT_LABEL if image.kind == "label" else 0
    raw["vox_offset"] = raw.single_vox_offset
    raw["magic"] = raw.single_magic
    # The four bytes after the header say that no extension follows.
    content = (
        raw.binaryblock,
        bytes(4),
        block.astype(block.dtype.newbyteorder("<"), copy=False).tobytes("F"),
    )
    with open(path, "wb") as stream:
        if path.name.lower().endswith(".gz"):
            write_gzip(stream, content, image.kind)
        else:
            stream.writelines(content)


def _parse(content: bytes, path: Path, form: str) -> Any:
    """The header as nibabel's object, whatever its version and byte order."""
    import nibabel

    for order in ("<", ">"):
        size = int(np.frombuffer(content[:4], f"{order}i4")[0]) if len(content) >= 4 else 0
        if size not in _SIZES or len(content) < size:
            continue
        raw = getattr(nibabel, _SIZES[size])(content[:size], order, check=False)
        magic = bytes(raw["magic"]).rstrip(b"\0")
        if magic == getattr(raw, f"{form}_magic").rstrip(b"\0"):
            return raw
        if form == "pair" and size == 348 and not magic:
            raise FileError(
                "The file is ANALYZE 7.5, not NIfTI: nothing in it says where left and right are.",
                file=path,
                remedy="convert it again from its source, to NIfTI",
            )
    remedy = (
        "rename it to .nii.gz"
        if content[:2] == b"\x1f\x8b"
        else "convert it to NIfTI (one file, .nii or .nii.gz)"
    )
    raise foreign(path, content, "a NIfTI image") or FileError(
        "The file is not a NIfTI image.", file=path, remedy=remedy
    )


def _offset(raw: Any, path: Path, form: str) -> int:
    """Where the voxels begin."""
    least = raw.single_vox_offset if form == "single" else 0
    offset = float(raw["vox_offset"])
    if offset == 0:
        return least
    if not least - 4 <= offset < 2**62:
        raise damaged(path, f"voxels from byte {offset:g}", f"from byte {least} or later")
    return int(offset)


def _times(raw: Any) -> tuple[float, ...] | None:
    """When the volumes were taken, in seconds; None if there is one, or the header does not say."""
    count, step, start = int(raw["dim"][4]), float(raw["pixdim"][4]), float(raw["toffset"])
    second = _SECONDS.get(int(raw["xyzt_units"]) & 0b111000)
    if raw["dim"][0] < 4 or count < 2 or second is None or not (0 < step < np.inf and np.isfinite(start)):
        return None
    return tuple(((start + step * np.arange(count)) * second).tolist())


def _shape(raw: Any, path: Path) -> tuple[int, int, int, int]:
    """(I, J, K, C): missing axes have size 1; time points or vector components are channels."""
    axes = int(raw["dim"][0])
    sizes = [int(n) for n in raw["dim"][1 : axes + 1]] if 1 <= axes <= 7 else []
    if not sizes or min(sizes) < 1:
        raise FileError(
            "The header's dimensions make no image.",
            file=path,
            got=np.array(raw["dim"]).tolist(),
            remedy="copy or convert it again from its source",
        )
    sizes += [1] * (3 - len(sizes))
    beyond = [n for n in sizes[3:] if n > 1]
    if len(beyond) > 1:
        raise CaseError(
            f"The image has {len(beyond)} axes beyond the third; one is understood (time or components).",
            file=path,
            got="x".join(map(str, sizes)),
            remedy="split it into several files",
        )
    return (sizes[0], sizes[1], sizes[2], beyond[0] if beyond else 1)


def _stored(raw: Any, path: Path) -> tuple[np.dtype, float, float]:
    """Type on disk, slope and intercept (1 and 0 where the header has no valid ones)."""
    from nibabel.spatialimages import HeaderDataError

    try:
        stored = raw.get_data_dtype()
        slope, inter = raw.get_slope_inter()
    except (HeaderDataError, KeyError, ValueError) as error:
        raise FileError(f"The header is damaged: {error}.", file=path, remedy="convert it again") from error
    checked_type(stored, path)
    return stored, 1.0 if slope is None else float(slope), 0.0 if inter is None else float(inter)


def _scaled(stored: np.dtype, slope: float, inter: float) -> np.dtype:
    """Type after scaling: as stored without one; float32, or float64 where float32 would lose digits."""
    if (slope, inter) == (1.0, 0.0):
        return stored.newbyteorder("=")
    return np.dtype(np.float32 if stored.itemsize <= 2 or stored == np.float32 else np.float64)


def _grid(raw: Any, shape: tuple[int, ...], path: Path) -> tuple[Grid, tuple[str, ...]]:
    """The grid as stored, and what is odd about it."""
    raw = _with_handedness(raw)
    unit = int(raw["xyzt_units"]) & 0b111
    scale = np.array([[_MILLIMETRES.get(unit, 1.0)]] * 3 + [[1.0]])
    notes = (f"lengths in {'metres' if unit == 1 else 'micrometres'}",) if unit in _MILLIMETRES else ()
    notes += (f"an unknown unit of length ({unit}), taken for mm",) if unit > 3 else ()
    found: dict[str, Grid] = {}
    problems: dict[str, GeometryError] = {}
    for name in ("sform", "qform"):
        if raw[f"{name}_code"] > 0:
            try:
                found[name] = _placed(raw, name, shape, scale)
            except GeometryError as error:
                error.file = str(path)
                problems[name] = error
    if len(found) == 2:
        return found["sform"], (*notes, *_differences(raw, scale, found["sform"], found["qform"], path))
    for name, grid in found.items():
        # With a place that can be used, the other is no reason to refuse the file.
        return grid, (*notes, *(f"a {other} that can't be used, beside its {name}" for other in problems))
    for error in problems.values():
        raise error
    known = "lengths are in pixels (px)" if _in_pixels(raw) else "spacing only"
    note = f"no sform and no qform: {known}, orientation and position are guesses"
    try:
        return Grid(shape[:3], scale * raw.get_base_affine()), (*notes, note)
    except GeometryError as error:
        error.file = str(path)
        raise


def _in_pixels(raw: Any) -> bool:
    """Whether nobody knows how large a voxel is: no affine, no unit, and the spacing that stands for none."""
    if int(raw["xyzt_units"]) & 0b111:
        return False
    placed = raw["sform_code"] > 0 or raw["qform_code"] > 0
    return bytes(raw["descrip"]).startswith(_PIXELS) or not (placed or np.any(raw["pixdim"][1:4] != 1))


def _with_handedness(raw: Any) -> Any:
    """The header with 1 or -1 in pixdim[0], as the standard's library reads it: not negative is 1."""
    factor = -1.0 if raw["pixdim"][0] < 0 else 1.0
    if raw["pixdim"][0] != factor:
        raw = raw.copy()
        raw["pixdim"][0] = factor
    return raw


def _placed(raw: Any, name: str, shape: tuple[int, ...], scale: NDArray) -> Grid:
    """The grid by one of the two affines.

    Raises
    ------
    GeometryError
        If it is none.
    """
    from nibabel.spatialimages import HeaderDataError

    try:
        return Grid(shape[:3], scale * getattr(raw, f"get_{name}")())
    except (HeaderDataError, ValueError, np.linalg.LinAlgError) as error:
        raise GeometryError(
            f"The header's {name} can't be used: {error}.", remedy="repair the header's sform/qform"
        ) from error


def _differences(raw: Any, scale: NDArray, sform: Grid, qform: Grid, path: Path) -> tuple[str, ...]:
    """A note where sform and qform place the image differently for a reason.

    Raises
    ------
    GeometryError
        If there is none.
    """
    displacement = sform.displacement(qform)
    imaginary = [float(raw[f"quatern_{axis}"]) for axis in "bcd"]
    lost = 1.0 - sum(x * x for x in imaginary) < _LOST_SCALAR**2
    tolerance = _TOLERANCE_MM + (
        _LOST_ANGLE * float(np.linalg.norm(sform.shape * sform.spacing)) if lost else 0.0
    )
    if displacement <= tolerance:
        return ()
    codes = tuple(int(raw[f"{name}_code"]) for name in ("sform", "qform"))
    if codes[0] != codes[1]:
        larger = sform.voxel_volume / qform.voxel_volume
        scaled = "" if abs(larger - 1) < 1e-3 else f", where a voxel has {larger:.4g} times the volume"
        return (
            f"two spaces: sform (code {codes[0]}, {_space(codes[0])}) and qform (code {codes[1]}, "
            f"{_space(codes[1])}) differ by up to {displacement:.2f} mm; the sform is used{scaled}",
        )
    straight = raw.copy()
    straight.set_qform(raw.get_sform(), codes[1])
    if qform.displacement(Grid(qform.shape, scale * straight.get_qform())) <= tolerance:
        return ("a qform without the shear of its sform, which is used",)
    raise GeometryError(
        "The file contradicts itself: its sform and its qform place the image differently.\n"
        f"  sform  code {codes[0]}  {sform.describe()}  {_rows(sform)}\n"
        f"  qform  code {codes[1]}  {qform.describe()}  {_rows(qform)}\n"
        f"  largest corner displacement {displacement:.2f} mm (tolerance {tolerance:.2f} mm)",
        file=path,
        remedy="find out which is right, and copy it over the other, "
        "e.g. with nibabel image.set_qform(image.get_sform(), 1)",
    )


def _space(code: int) -> str:
    return _SPACES.get(code, "unknown")


def _rows(grid: Grid) -> str:
    return "; ".join(" ".join(f"{x:.4g}" for x in row) for row in grid.affine[:3])


def _kept(raw: bytes | None, block: NDArray, grid: Grid) -> Any:
    """The geometry of a NIfTI header with nothing else of it; None where it does not give this grid."""
    import nibabel

    if raw is None or len(raw) not in _SIZES or (len(raw) == 348 and max(block.shape) > 32767):
        return None
    order = "<" if int.from_bytes(raw[:4], "little") == len(raw) else ">"
    kind = getattr(nibabel, _SIZES[len(raw)])
    old, new = kind(raw, order, check=False), kind(endianness="<")
    for name in _GEOMETRY:
        new[name] = old[name]
    new.set_data_shape(block.shape)
    new.set_data_dtype(block.dtype)
    return new if _grid(new, grid.shape, Path())[0] == grid else None


def _set_affines(header: Any, grid: Grid) -> None:
    header.set_sform(grid.affine, 1)
    header.set_qform(grid.affine, 1)
    if grid.displacement(Grid(grid.shape, header.get_qform())) > _TOLERANCE_MM / 2:
        # Sheared, or lost in float32: the sform alone is right.
        header.set_qform(None, 0)


def _set_times(raw: Any, header: Header | None, channels: int) -> None:
    """Write at what times the channels were taken, where that is known and evenly spaced."""
    times = header.times if header is not None else None
    start, step, unit = 0.0, 1.0, "unknown"
    if times is not None and len(times) == channels > 1 and _even(times):
        start, step, unit = times[0], (times[-1] - times[0]) / (channels - 1), "sec"
    raw.set_xyzt_units(raw.get_xyzt_units()[0], unit)
    raw["toffset"] = start
    if channels > 1:
        raw["pixdim"][4] = step


def _even(times: tuple[float, ...]) -> bool:
    steps = np.diff(times)
    return bool(steps.min() > 0 and np.ptp(steps) <= 1e-4 * steps.mean())
