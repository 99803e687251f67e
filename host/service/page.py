"""The page of `fireflow serve`: a picture or the camera, live scores, the phases of a transfer."""

PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Fireflow</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>
body { font: 16px/1.4 system-ui, sans-serif; margin: 0 auto; padding: 1rem; max-width: 60rem; color: #222 }
h1 { font-size: 1.3rem } main { display: flex; gap: 2rem; flex-wrap: wrap }
section { flex: 1 1 20rem } #shown { width: 100%; background: #eee; border-radius: 6px; min-height: 12rem }
.row { display: grid; grid-template-columns: 1fr 6rem 4rem; gap: .5rem; align-items: center; margin: .3rem 0 }
.row span:first-child { overflow: hidden; text-overflow: ellipsis; white-space: nowrap }
.bar { background: #e4572e; height: .8rem; border-radius: 3px; min-width: 1px }
.number { text-align: right; font-variant-numeric: tabular-nums }
#error { color: #b00020; min-height: 1.4em; font-weight: 600 }
table { border-collapse: collapse } td { padding: .1rem .8rem .1rem 0 }
button, input { font: inherit } small { color: #666 }
</style></head><body>
<h1>Fireflow <small id="network"></small></h1>
<p><input id="file" type="file" accept="image/*"> <button id="camera">Camera</button>
<label><small>token</small> <input id="token" size="12" type="password"></label></p>
<p id="error" role="alert"></p>
<main><section><canvas id="shown" width="480" height="360"></canvas></section>
<section><div id="scores"></div><p id="rate"></p><table id="phases"></table></section></main>
<script>
const get = id => document.getElementById(id);
const shown = get("shown"), video = document.createElement("video");
let live = false, last = 0;
function row(guess, widest) {
  const line = document.createElement("div"), name = document.createElement("span");
  const bar = document.createElement("span"), value = document.createElement("span");
  line.className = "row"; bar.className = "bar"; value.className = "number";
  name.textContent = name.title = guess.label; value.textContent = guess.score.toFixed(3);
  bar.style.width = 100 * Math.max(0, guess.score) / widest + "%";
  line.append(name, bar, value); return line;
}
function show(answer) {
  get("error").textContent = "";
  const widest = Math.max(1e-9, ...answer.top.map(guess => guess.score));
  get("scores").replaceChildren(...answer.top.map(guess => row(guess, widest)));
  get("phases").replaceChildren(...Object.entries(answer.ms).map(([phase, ms]) => {
    const line = document.createElement("tr");
    for (const text of [phase, ms.toFixed(2) + " ms"]) {
      const cell = document.createElement("td"); cell.textContent = text; line.append(cell);
    }
    return line;
  }));
  const now = performance.now();
  get("rate").textContent = live && last ? (1000 / (now - last)).toFixed(1) + " pictures a second" : "";
  last = now;
}
async function send(blob) {
  const form = new FormData();
  form.append("image", blob, "picture");
  const response = await fetch("v1/classify?top=5", { method: "POST", body: form, headers: allowed() });
  const answer = await response.json();
  if (!response.ok) throw new Error(answer.error);
  show(answer);
}
function fail(error) { get("error").textContent = error.message; get("scores").replaceChildren(); }
function draw(source, width, height) {
  shown.width = 480; shown.height = Math.max(1, Math.round(480 * height / width));
  shown.getContext("2d").drawImage(source, 0, 0, shown.width, shown.height);
}
get("file").onchange = async event => {
  live = false;
  const file = event.target.files[0];
  if (!file) return;
  try {
    const sending = send(file);
    createImageBitmap(file).then(image => draw(image, image.width, image.height), () => {});
    await sending;
  } catch (error) { fail(error); }
};
get("camera").onclick = async () => {
  if (live) { live = false; return; }
  try {
    video.srcObject = await navigator.mediaDevices.getUserMedia({ video: true });
    await video.play(); live = true; last = 0;
    while (live) {
      draw(video, video.videoWidth, video.videoHeight);
      await send(await new Promise(done => shown.toBlob(done, "image/jpeg", 0.9)));
    }
  } catch (error) { live = false; fail(error); }
  if (video.srcObject) video.srcObject.getTracks().forEach(track => track.stop());
};
function allowed() {
  const token = get("token").value;
  return token ? { Authorization: "Bearer " + token } : {};
}
function about() {
  fetch("health", { headers: allowed() }).then(response => response.json()).then(facts => {
    get("network").textContent = (facts.network || "") + (facts.device ? " on " + facts.device : "");
  }).catch(() => {});
}
get("token").onchange = about;
about();
</script></body></html>
"""
