// A case in three dimensions. NiiVue is unpacked when it is first needed; the volumes are in the page.
const viewer = { library: null, nv: null, volumes: null, current: null };
// Codes of the error map, and which of them each layer shows.
const LAYERS = {
  errors: [["tp", [1], [150, 150, 150]], ["fp", [2], [230, 159, 0]], ["fn", [3], [20, 130, 215]]],
  prediction: [["prediction", [1, 2], [205, 90, 175]]],
  reference: [["reference", [1, 3], [60, 175, 100]]],
};
const HEADER = 352;

async function unpacked(base64) {
  const bytes = Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
  return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"))).arrayBuffer();
}

async function library() {
  if (!viewer.library) {
    const script = document.createElement("script");
    script.textContent = new TextDecoder().decode(await unpacked(byId("niivue").textContent.trim()));
    document.head.append(script);
    viewer.library = globalThis.niivue;
  }
  return viewer.library;
}

// The bytes of a NIfTI file with some codes kept as 1 and all else 0.
function layer(codes, kept) {
  const copy = codes.slice(0), voxels = new Uint8Array(copy, HEADER);
  for (let at = 0; at < voxels.length; at++) voxels[at] = kept.includes(voxels[at]) ? 1 : 0;
  return copy;
}

async function started() {
  const { Niivue } = await library();
  if (viewer.nv) return viewer.nv;
  const nv = new Niivue({
    backColor: [0, 0, 0, 1], crosshairColor: [0.55, 0.6, 0.65, 1], crosshairWidth: 0.35, isRadiologicalConvention: true, show3Dcrosshair: true,
    dragAndDropEnabled: false, isColorbar: false, multiplanarShowRender: 1, loadingText: "", logLevel: "error", multiplanarLayout: 2, sagittalNoseLeft: true, fontColor: [1, 1, 1, 1],
  });
  nv.onLocationChange = (place) => { byId("n-place").textContent = `R, A, S: ${[...place.mm].slice(0, 3).map((mm) => mm.toFixed(1).replace("-", "−")).join(", ")} mm`; };
  for (const layers of Object.values(LAYERS)) {
    for (const [name, , [r, g, b]] of layers) nv.addColormap(`case-${name}`, { R: [0, r], G: [0, g], B: [0, b], A: [0, 255], I: [0, 255] });
  }
  await nv.attachToCanvas(byId("n-canvas"));
  viewer.nv = nv;
  return nv;
}

async function openViewer(exhibit) {
  const dialog = byId("viewer-dialog"), message = byId("n-message");
  if (!dialog.open) dialog.showModal();
  message.textContent = "Loading …";
  dialog.dataset.state = "loading";
  try {
    viewer.volumes ??= JSON.parse(byId("volumes-data").textContent);
    const found = viewer.volumes.find((one) => one.exhibit === exhibit);
    byId("n-case").value = exhibit;
    const nv = await started();
    const codes = await unpacked(found.codes);
    const image = found.image ? await unpacked(found.image) : layer(codes, []);
    const list = [["image", image, "gray", 1, 0, 255]];
    for (const layers of Object.values(LAYERS)) {
      for (const [name, kept] of layers) {
        list.push([name, layer(codes, kept), `case-${name}`, 0, 0.3, 1]);
      }
    }
    const { NVImage } = await library();
    const volumes = [];
    for (const [name, buffer, colours, opacity, low, high] of list) {
      volumes.push(await NVImage.new(buffer, `${name}.nii`, colours, opacity, null, low, high));
    }
    // All at once: adding one by one would blend all of them again each time.
    Object.assign(nv, { volumes, back: volumes[0], overlays: volumes.slice(1) });
    byId("n-image-label").hidden = !found.image;
    layersShown();
    viewShown();
    nv.scene.crosshairPos = nv.vox2frac(found.focus);
    nv.drawScene();
    message.textContent = "";
    dialog.dataset.state = "ready";
  } catch (error) {
    dialog.dataset.state = "failed";
    message.textContent = `The viewer needs WebGL 2, which this browser does not give: ${error.message}`;
  }
}

function layersShown() {
  const nv = viewer.nv;
  if (!nv?.volumes.length) return;
  const opacity = Number(byId("n-opacity").value);
  nv.volumes[0].opacity = byId("n-image").checked ? 1 : 0;
  let at = 1;
  for (const [group, layers] of Object.entries(LAYERS)) {
    for (const _ of layers) nv.volumes[at++].opacity = byId(`n-${group}`).checked ? opacity : 0;
  }
  nv.updateGLVolume();
}

function viewShown() {
  viewer.nv?.setSliceType(Number(byId("n-view").value));
}

function viewers() {
  const dialog = byId("viewer-dialog");
  if (!dialog) return;
  openable(dialog);
  const select = byId("n-case");
  data.exhibits.forEach(([m, s, c, in3d], position) => {
    if (in3d) select.append(element("option", { value: position, text: `${data.cases[c]}, ${data.structures[s]}, ${data.methods[m]}` }));
  });
  select.addEventListener("change", () => openViewer(Number(select.value)));
  for (const name of ["image", "errors", "prediction", "reference", "opacity"]) byId(`n-${name}`).addEventListener("input", layersShown);
  byId("n-view").addEventListener("input", viewShown);
}
