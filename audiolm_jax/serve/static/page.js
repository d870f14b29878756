"use strict";
const $ = (id) => document.getElementById(id);
const state = { prompt: null, info: null, abort: null, recording: null };

function say(text) { $("status").textContent = text; }
function complain(text) { $("error").textContent = text; }
function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

// --- prompt -------------------------------------------------------------------------------

function take(blob, name) {
  state.prompt = new File([blob], name);
  $("chosen").textContent = `Prompt: ${name}, ${(blob.size / 1024).toFixed(0)} KiB`;
  const heard = $("heard");
  if (heard.src) URL.revokeObjectURL(heard.src);
  heard.src = URL.createObjectURL(blob);
  heard.hidden = false;
  complain("");
}

$("file").addEventListener("change", () => {
  const [file] = $("file").files;
  if (file) take(file, file.name);
});
for (const kind of ["dragenter", "dragover"]) {
  $("drop").addEventListener(kind, (event) => {
    event.preventDefault();
    $("drop").classList.add("over");
  });
}
for (const kind of ["dragleave", "drop"]) {
  $("drop").addEventListener(kind, () => $("drop").classList.remove("over"));
}
$("drop").addEventListener("drop", (event) => {
  event.preventDefault();
  const [file] = event.dataTransfer.files;
  if (file) take(file, file.name);
});

function wav(blocks, rate) {
  const length = blocks.reduce((sum, block) => sum + block.length, 0);
  const view = new DataView(new ArrayBuffer(44 + 2 * length));
  const text = (at, word) => [...word].forEach((c, i) => view.setUint8(at + i, c.charCodeAt(0)));
  text(0, "RIFF"); view.setUint32(4, 36 + 2 * length, true); text(8, "WAVEfmt ");
  view.setUint32(16, 16, true); view.setUint16(20, 1, true); view.setUint16(22, 1, true);
  view.setUint32(24, rate, true); view.setUint32(28, 2 * rate, true);
  view.setUint16(32, 2, true); view.setUint16(34, 16, true);
  text(36, "data"); view.setUint32(40, 2 * length, true);
  let at = 44;
  for (const block of blocks) {
    for (const sample of block) {
      view.setInt16(at, Math.round(32767 * Math.max(-1, Math.min(1, sample))), true);
      at += 2;
    }
  }
  return new Blob([view], { type: "audio/wav" });
}

async function startRecording() {
  if (!navigator.mediaDevices) throw new Error("this browser gives no microphone to this page");
  const stream = await navigator.mediaDevices.getUserMedia({
    audio: { echoCancellation: false, noiseSuppression: false, autoGainControl: false },
  });
  const context = new AudioContext();
  await context.audioWorklet.addModule("/static/recorder.js");
  const node = new AudioWorkletNode(context, "recorder");
  const blocks = [];
  node.port.onmessage = ({ data }) => {
    blocks.push(data);
    const peak = data.reduce((most, x) => Math.max(most, Math.abs(x)), 0);
    $("level").firstElementChild.style.width = `${Math.min(100, 100 * peak)}%`;
    const seconds = (blocks.length * data.length) / context.sampleRate;
    $("chosen").textContent = `Recording: ${seconds.toFixed(1)} s`;
  };
  context.createMediaStreamSource(stream).connect(node);
  state.recording = { stream, context, node, blocks };
  $("record").setAttribute("aria-pressed", "true");
  $("record").textContent = "Stop recording";
}

async function stopRecording() {
  const { stream, context, node, blocks } = state.recording;
  state.recording = null;
  node.port.onmessage = null;
  stream.getTracks().forEach((track) => track.stop());
  const rate = context.sampleRate;
  await context.close();
  $("record").setAttribute("aria-pressed", "false");
  $("record").textContent = "Record";
  $("level").firstElementChild.style.width = "0";
  if (blocks.length) take(wav(blocks, rate), "recording.wav");
  else complain("Nothing was recorded.");
}

$("record").addEventListener("click", async () => {
  complain("");
  try {
    await (state.recording ? stopRecording() : startRecording());
  } catch (error) {
    state.recording = null;
    complain(`Recording failed: ${error.message}`);
  }
});

// --- sound and pictures -------------------------------------------------------------------

class LivePlayer {
  constructor(rate) {
    this.context = new AudioContext();
    this.rate = rate;
    this.next = 0;
  }

  play(samples) {
    const buffer = this.context.createBuffer(1, samples.length, this.rate);
    buffer.copyToChannel(samples, 0);
    const source = this.context.createBufferSource();
    source.buffer = buffer;
    source.connect(this.context.destination);
    this.next = Math.max(this.next, this.context.currentTime + 0.05);
    source.start(this.next);
    this.next += buffer.duration;
  }

  close() {
    if (this.context.state !== "closed") this.context.close();
  }
}

function bytesOf(base64) {
  return Uint8Array.from(atob(base64), (c) => c.charCodeAt(0));
}

function samplesOf(base64) {
  const pcm = new Int16Array(bytesOf(base64).buffer);
  return Float32Array.from(pcm, (x) => x / 32768);
}

function drawWave(pieces, promptSamples) {
  const canvas = $("wave");
  const pen = canvas.getContext("2d");
  const all = pieces.flatMap((piece) => [...piece]);
  const { width, height } = canvas;
  pen.clearRect(0, 0, width, height);
  const step = all.length / width;
  for (let x = 0; x < width; x++) {
    let low = 0;
    let high = 0;
    for (let i = Math.floor(x * step); i < Math.floor((x + 1) * step); i++) {
      low = Math.min(low, all[i]);
      high = Math.max(high, all[i]);
    }
    pen.fillStyle = colour(x * step < promptSamples ? "--accent" : "--made");
    const top = (1 - high) * height / 2;
    pen.fillRect(x, top, 1, Math.max(1, (high - low) * height / 2));
  }
  border(pen, promptSamples / all.length, canvas);
}

const SHADES = [[0, 0, 4], [81, 18, 124], [183, 55, 121], [252, 137, 97], [252, 253, 191]];

function drawSpectrum({ bands, frames, data }, part) {
  const values = bytesOf(data);
  const small = new OffscreenCanvas(frames, bands);
  const image = new ImageData(frames, bands);
  for (let t = 0; t < frames; t++) {
    for (let band = 0; band < bands; band++) {
      const place = (values[t * bands + band] / 255) * (SHADES.length - 1);
      const below = Math.min(SHADES.length - 2, Math.floor(place));
      const at = 4 * ((bands - 1 - band) * frames + t);
      for (let c = 0; c < 3; c++) {
        const [a, b] = [SHADES[below][c], SHADES[below + 1][c]];
        image.data[at + c] = a + (place - below) * (b - a);
      }
      image.data[at + 3] = 255;
    }
  }
  small.getContext("2d").putImageData(image, 0, 0);
  const canvas = $("spectrum");
  const pen = canvas.getContext("2d");
  pen.drawImage(small, 0, 0, canvas.width, canvas.height);
  border(pen, part, canvas);
}

function border(pen, part, canvas) {
  pen.fillStyle = colour("--bad");
  pen.fillRect(Math.round(part * canvas.width) - 1, 0, 2, canvas.height);
}

// --- asking -------------------------------------------------------------------------------

function formData() {
  const form = new FormData();
  form.append("seconds", $("seconds").value);
  form.append("seed", $("seed").value.trim());
  form.append("consent", $("consent").checked ? "yes" : "no");
  for (const input of $("temperatures").querySelectorAll("input")) {
    form.append(input.name, input.value);
  }
  form.append("prompt", state.prompt, state.prompt.name);
  return form;
}

async function* events(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    const lines = (rest + value).split("\n");
    rest = lines.pop();
    for (const line of lines) yield JSON.parse(line);
  }
}

async function ask() {
  state.abort = new AbortController();
  const response = await fetch("/continue", {
    method: "POST", body: formData(), signal: state.abort.signal,
  });
  if (!response.ok) throw new Error((await response.json()).error);
  const pieces = [];
  let live = null;
  let seconds = 0;
  try {
    for await (const event of events(response)) {
      if (event.event === "queued") {
        say(event.before ? `Waiting: ${event.before} before you` : "The models listen");
      } else if (event.event === "started") {
        live = new LivePlayer(event.rate_hz);
      } else if (event.event === "progress") {
        say(`Writing: ${event.seconds.toFixed(1)} s are there`);
      } else if (event.event === "sound") {
        const samples = samplesOf(event.pcm);
        pieces.push(samples);
        seconds += samples.length / live.rate;
        live.play(samples);
      } else if (event.event === "error") {
        throw new Error(event.line);
      } else if (event.event === "done") {
        show(event, pieces, live.rate);
        say(`Done: ${seconds.toFixed(1)} s${event.ended ? ", ended by the models" : ""}`);
        return;
      }
    }
    throw new Error("the server ended before the sound did");
  } catch (error) {
    if (live) live.close();
    throw error;
  }
}

function show(done, pieces, rate) {
  $("result").hidden = false;
  const samples = pieces.reduce((sum, piece) => sum + piece.length, 0);
  const part = done.prompt_samples / samples;
  drawWave(pieces, done.prompt_samples);
  drawSpectrum(done.spectrogram, part);
  const [border, end] = [done.prompt_samples / rate, samples / rate];
  $("times").textContent = `from ${border.toFixed(2)} s to ${end.toFixed(2)} s`;
  $("wave").setAttribute("aria-label",
    `Waveform: prompt to ${border.toFixed(2)} s, continuation to ${end.toFixed(2)} s`);
  $("player").src = `/results/${done.id}.wav`;
  for (const kind of ["wav", "flac"]) $(kind).href = `/results/${done.id}.${kind}?download`;
  $("downloads").hidden = false;
  $("notes").replaceChildren(...done.notes.map((note) => element("li", note)));
  $("tokens").replaceChildren(...Object.entries(done.tokens).map(([stage, tokens]) => {
    const written = done.log_probs[stage] ?? [];
    const mean = written.reduce((sum, x) => sum + x, 0) / Math.max(1, written.length);
    const details = element("details", "");
    const first = tokens.slice(-200).map((x) => (Array.isArray(x) ? x.join(" ") : x)).join(", ");
    details.append(element("summary", "the last"), element("code", first));
    const cell = document.createElement("td");
    cell.append(details);
    const row = document.createElement("tr");
    const heading = element("th", stage);
    heading.scope = "row";
    row.append(heading, element("td", written.length),
      element("td", written.length ? mean.toFixed(2) : ""), cell);
    return row;
  }));
  $("provenance").textContent = JSON.stringify(done.provenance, null, 1);
  $("result-title").focus({ preventScroll: true });
}

function element(name, text) {
  const made = document.createElement(name);
  made.textContent = text;
  return made;
}

$("form").addEventListener("submit", async (event) => {
  event.preventDefault();
  complain("");
  if (!state.prompt) return complain("No prompt yet: choose, drop or record one.");
  if (!$("consent").checked) return complain("Say first that the speaker agrees.");
  $("go").disabled = true;
  $("stop").hidden = false;
  say("Sending the prompt");
  try {
    await ask();
  } catch (error) {
    say("");
    complain(error.name === "AbortError" ? "Stopped." : error.message);
  } finally {
    state.abort = null;
    $("go").disabled = false;
    $("stop").hidden = true;
  }
});
$("stop").addEventListener("click", () => state.abort && state.abort.abort());

(async () => {
  const info = await (await fetch("/info")).json();
  $("bundle").textContent = `bundle ${info.bundle}`;
  $("seconds").max = info.most_seconds;
  $("limit").textContent = `Of more than ${info.prompt_limit_seconds} s the end is heard.`;
  for (const [stage, usual] of Object.entries(info.temperatures)) {
    const label = element("label", `Temperature, ${stage} `);
    const input = document.createElement("input");
    Object.assign(input, { type: "number", name: `temperature_${stage}`, min: 0,
      max: info.most_temperature, step: 0.05, value: usual });
    label.append(input);
    $("temperatures").append(label);
  }
})();
