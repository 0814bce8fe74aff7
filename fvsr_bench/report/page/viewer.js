// The viewer: one clip, two methods, every frame. Pictures hold all frames of a clip, 8 per row.

(() => {
  const source = document.getElementById("viewer-data");
  if (!source) return;
  const data = JSON.parse(source.textContent);
  const get = (id) => document.getElementById(id);
  const root = get("viewer");
  const methods = new Map(data.methods.map((method) => [method.id, method]));
  const state = {
    clip: data.clips[0],
    left: data.left,
    right: data.right,
    at: data.clips[0].start, // index of the kept frame
    split: 50, // percent
    zoom: 3,
    aim: [80, 66], // HR px: centre of the zoom window
    follow: "eyes", // or "mouth", or "" where the user aims
    metric: data.metrics[0].name,
    playing: false,
  };
  const STAGE = 480, LENS = 192; // px
  const pictures = new Map(); // address -> image
  let wanted = 0;

  // --- Controls

  const option = (value, text) => new Option(text, value);
  get("v-clip").append(...data.clips.map((clip) => option(clip.id, `${clip.id} (${clip.rank})`)));
  for (const [id, side] of [["v-a", "left"], ["v-b", "right"]]) {
    get(id).append(...data.methods.map((method) => option(method.id, method.title)));
    get(id).value = state[side];
    get(id).addEventListener("change", (event) => change({ [side]: event.target.value }));
  }
  const measured = data.metrics.filter((metric) => data.clips[0].values[metric.name]);
  get("v-metric").append(...measured.map((metric) => option(metric.name, metric.title)));
  get("v-metric").addEventListener("change", (event) => change({ metric: event.target.value }));
  get("v-clip").addEventListener("change", (event) => {
    const clip = data.clips.find(({ id }) => id === event.target.value);
    change({ clip, at: Math.min(state.at, clip.frames.length - 1) });
  });
  get("v-frame").addEventListener("input", (event) => change({ at: event.target.valueAsNumber }));
  get("v-split").addEventListener("input", (event) => change({ split: event.target.valueAsNumber }));
  get("v-zoom").addEventListener("input", (event) => change({ zoom: event.target.valueAsNumber }));
  get("v-gain").addEventListener("change", () => change({}));
  get("v-play").addEventListener("click", toggle);
  for (const part of ["eyes", "mouth"])
    get(`v-${part}`).addEventListener("click", () =>
      change({ follow: state.follow === part ? "" : part }));

  const pair = get("v-pair");
  const stage = get("v-stage");
  const clamp = (value, low, high) => Math.min(high, Math.max(low, value));
  const place = (event) => {
    const box = pair.getBoundingClientRect();
    const x = clamp((event.clientX - box.left) / box.width, 0, 1);
    return [x, clamp((event.clientY - box.top) / box.height, 0, 1)];
  };
  let dragging = false;
  stage.addEventListener("pointerdown", (event) => {
    if (event.button) return;
    dragging = true;
    stage.setPointerCapture(event.pointerId);
    pair.focus({ preventScroll: true });
    change({ split: Math.round(place(event)[0] * 100) });
  });
  stage.addEventListener("pointermove", (event) => {
    const [x, y] = place(event);
    const aim = [x * state.clip.size, y * state.clip.size];
    if (dragging) change({ split: Math.round(x * 100) });
    else if (event.pointerType === "mouse") change({ aim, follow: "" });
  });
  for (const end of ["pointerup", "pointercancel"])
    stage.addEventListener(end, () => { dragging = false; });

  pair.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const [x, y] = state.aim, far = event.shiftKey ? 16 : 4, last = state.clip.size;
    const actions = {
      ArrowLeft: () => change({ aim: [clamp(x - far, 0, last), y], follow: "" }),
      ArrowRight: () => change({ aim: [clamp(x + far, 0, last), y], follow: "" }),
      ArrowUp: () => change({ aim: [x, clamp(y - far, 0, last)], follow: "" }),
      ArrowDown: () => change({ aim: [x, clamp(y + far, 0, last)], follow: "" }),
      "[": () => change({ split: clamp(state.split - 5, 0, 100) }),
      "]": () => change({ split: clamp(state.split + 5, 0, 100) }),
      ",": () => step(-1),
      ".": () => step(1),
      " ": toggle,
    };
    if (!actions[event.key]) return;
    event.preventDefault();
    actions[event.key]();
  });

  function step(by) {
    const count = state.clip.frames.length;
    change({ at: (state.at + by + count) % count });
  }

  // --- Playing

  let next = 0;
  function toggle() {
    state.playing = !state.playing;
    const button = get("v-play");
    button.setAttribute("aria-pressed", String(state.playing));
    button.innerHTML = state.playing
      ? '<span aria-hidden="true">❚❚</span> Pause' : '<span aria-hidden="true">▶</span> Play';
    next = 0;
    if (state.playing) requestAnimationFrame(tick);
  }
  function tick(now) {
    if (!state.playing) return;
    if (now >= next) {
      step(1);
      next = now + 1000 / (state.clip.fps || 25);
    }
    requestAnimationFrame(tick);
  }

  // --- Pictures

  function load(address) {
    if (!pictures.has(address)) {
      const image = new Image();
      image.src = address;
      pictures.set(address, image.decode().then(() => image, (error) => {
        pictures.delete(address); // it is asked for again
        throw error;
      }));
    }
    return pictures.get(address);
  }

  // Draw a region (HR px) of a method's frame into a canvas.
  function put(context, image, id, x, y, side, to, smooth) {
    const { clip, at } = state;
    const scale = id === "lr" ? clip.scale : 1;
    const size = clip.size / scale;
    const left = (at % data.columns) * size, top = Math.floor(at / data.columns) * size;
    context.imageSmoothingEnabled = smooth && id !== "lr";
    context.imageSmoothingQuality = "high";
    context.drawImage(image, left + x / scale, top + y / scale, side / scale, side / scale, ...to);
  }

  function canvas(parent, id, side, title) {
    const figure = document.createElement("figure");
    const made = document.createElement("canvas");
    made.width = made.height = side;
    made.setAttribute("role", "img");
    made.setAttribute("aria-label", title);
    made.dataset.id = id;
    const caption = document.createElement("figcaption");
    caption.textContent = title;
    figure.append(made, caption);
    parent.append(figure);
    return made;
  }

  const title = (id) => methods.get(id).title;
  const compared = data.methods.filter(({ id }) => id !== "gt" && id !== "lr");
  const tiles = data.methods.map(({ id }) => canvas(get("v-tiles"), id, 160, title(id)));
  const errors = compared.map(({ id }) => canvas(get("v-errors"), id, 160, `Error of ${title(id)}`));
  for (const made of tiles)
    made.addEventListener("pointerdown", (event) => {
      const box = made.getBoundingClientRect(), { size } = state.clip;
      const aim = [event.clientX - box.left, event.clientY - box.top];
      change({ aim: aim.map((at) => (at / box.width) * size), follow: "" });
    });
  for (const made of errors) made.nextSibling.textContent = title(made.dataset.id);
  let lenses = [], lensKey = "";

  function makeLenses() {
    const ids = [...new Set([state.left, state.right, "gt", "lr"])];
    if (lensKey === ids.join()) return;
    lensKey = ids.join();
    get("v-zoomed").replaceChildren();
    lenses = ids.map((id) => canvas(get("v-zoomed"), id, LENS, title(id)));
  }

  async function change(some) {
    Object.assign(state, some);
    const mine = ++wanted;
    const names = data.methods.map(({ id }) => id);
    let found;
    try {
      found = await Promise.all(names.map((id) => load(state.clip.pictures[id])));
    } catch {
      get("v-status").textContent = `The pictures of ${state.clip.id} cannot be loaded: is the ` +
        "folder that belongs to this page beside it?";
      return;
    }
    if (mine !== wanted) return; // a later change draws
    get("v-status").textContent = "";
    draw(new Map(names.map((id, i) => [id, found[i]])));
  }

  // --- Drawing

  function draw(images) {
    const { clip, at, split } = state;
    if (state.follow) {
      const [x0, y0, x1, y1] = clip[state.follow][at];
      state.aim = [(x0 + x1) / 2, (y0 + y1) / 2];
    }
    drawPair(images);
    makeLenses();
    const side = LENS / state.zoom;
    const x = clamp(state.aim[0] - side / 2, 0, clip.size - side);
    const y = clamp(state.aim[1] - side / 2, 0, clip.size - side);
    for (const lens of lenses) {
      const id = lens.dataset.id;
      put(lens.getContext("2d"), images.get(id), id, x, y, side, [0, 0, LENS, LENS], false);
    }
    const ring = get("v-ring").style;
    const percent = (value) => `${(100 * value) / clip.size}%`;
    [ring.left, ring.top, ring.width] = [percent(x), percent(y), percent(side)];
    for (const made of tiles) {
      const id = made.dataset.id;
      put(made.getContext("2d"), images.get(id), id, 0, 0, clip.size, [0, 0, 160, 160], true);
    }
    drawErrors(images);
    drawStrip();
    get("v-divider").style.left = `${split}%`;
    get("v-tag-a").textContent = title(state.left);
    get("v-tag-b").textContent = title(state.right);
    get("v-frame").max = clip.frames.length - 1;
    get("v-frame").value = at;
    get("v-frame").setAttribute("aria-valuetext", `frame ${clip.frames[at] + 1} of ${clip.total}`);
    get("v-split").value = split;
    get("v-count").textContent = `${clip.frames[at] + 1} / ${clip.total}`;
    get("v-zoom-text").textContent = `${state.zoom}×`;
    for (const part of ["eyes", "mouth"])
      get(`v-${part}`).setAttribute("aria-pressed", String(state.follow === part));
    pair.setAttribute("aria-label",
      `Frame ${clip.frames[at] + 1} of ${clip.id}: ${title(state.left)} on the left ${split} ` +
      `percent, ${title(state.right)} on the right`);
    Object.assign(root.dataset, { frame: clip.frames[at] + 1, split, clip: clip.id, ready: "yes" });
  }

  function drawPair(images) {
    pair.width = pair.height = STAGE;
    const context = pair.getContext("2d");
    const all = [0, 0, STAGE, STAGE], { size } = state.clip;
    put(context, images.get(state.right), state.right, 0, 0, size, all, true);
    context.save();
    context.beginPath();
    context.rect(0, 0, (STAGE * state.split) / 100, STAGE);
    context.clip();
    put(context, images.get(state.left), state.left, 0, 0, size, all, true);
    context.restore();
  }

  // |SR - GT| per channel by the canvas, then the mean over channels and the colours by a filter:
  // no pixel is read back, which a page opened from disk may not do with pictures beside it.
  function drawErrors(images) {
    const gain = get("v-gain").value, whole = [0, 0, 160, 160], { size } = state.clip;
    for (const made of errors) {
      const context = made.getContext("2d"), id = made.dataset.id;
      context.globalCompositeOperation = "source-over";
      put(context, images.get("gt"), "gt", 0, 0, size, whole, false);
      context.globalCompositeOperation = "difference";
      put(context, images.get(id), id, 0, 0, size, whole, false);
      made.style.filter = `url(#heat${gain})`;
    }
    get("v-scale").textContent = String(256 / gain);
  }

  const SVG = "http://www.w3.org/2000/svg";
  const node = (name, attributes) => {
    const made = document.createElementNS(SVG, name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    return made;
  };
  const strip = get("v-strip");
  const EDGE = { left: 46, right: 632, top: 8, bottom: 108 };

  function drawStrip() {
    const { clip, at } = state;
    const metric = data.metrics.find(({ name }) => name === state.metric);
    const values = clip.values[metric.name] ?? {};
    const all = Object.values(values).flat().filter((value) => value !== null);
    const low = Math.min(...all), high = Math.max(...all), span = high - low || 1;
    const x = (frame) => EDGE.left + (frame / Math.max(1, clip.total - 1)) * (EDGE.right - EDGE.left);
    const y = (value) => EDGE.bottom - ((value - low) / span) * (EDGE.bottom - EDGE.top);
    strip.replaceChildren();
    if (clip.frames.length < clip.total) {
      const from = x(clip.frames[0] - 0.5);
      strip.append(node("rect", { class: "kept", x: from, y: 2, height: 110,
        width: x(clip.frames.at(-1) + 0.5) - from }));
    }
    for (const [text, value] of all.length ? [[high, high], [low, low]] : []) {
      const label = node("text", { x: EDGE.left - 6, y: y(value) + 5, "text-anchor": "end" });
      label.textContent = text.toFixed(metric.digits);
      strip.append(label);
    }
    const order = Object.keys(values).sort((a, b) => chosen(a) - chosen(b));
    for (const id of order) {
      let path = "", pen = "M";
      values[id].forEach((value, frame) => {
        if (value === null) { pen = "M"; return; }
        path += `${pen}${x(frame).toFixed(1)} ${y(value).toFixed(1)}`;
        pen = "L";
      });
      const kind = `line s${methods.get(id).look}${chosen(id) ? "" : " faint"}` +
        (id === state.right && id !== state.left ? " second" : "");
      strip.append(node("path", { class: kind, d: path }));
      const value = values[id][clip.frames[at]];
      if (chosen(id) && value !== null)
        strip.append(node("circle", { class: `dot s${methods.get(id).look}`, r: 5,
          cx: x(clip.frames[at]), cy: y(value) }));
    }
    const now = x(clip.frames[at]).toFixed(1);
    strip.append(node("path", { class: "playhead", d: `M${now} 2V112` }));
    for (const frame of [0, Math.floor((clip.total - 1) / 2), clip.total - 1]) {
      const label = node("text", { x: x(frame), y: 127, "text-anchor": "middle" });
      label.textContent = String(frame + 1);
      strip.append(label);
    }
    const said = [...new Set([state.left, state.right])].filter((id) => values[id]).map((id) => {
      const value = values[id][clip.frames[at]];
      return `${id === state.left ? "━" : "┅"} ${title(id)} ${value === null ? "no face" : value.toFixed(metric.digits)}`;
    });
    get("v-values").textContent = `Frame ${clip.frames[at] + 1}: ${said.join(" · ") || "–"}`;
  }
  const chosen = (id) => Number(id === state.left || id === state.right);

  let seeking = false;
  const seek = (event) => {
    const box = strip.getBoundingClientRect();
    const unit = ((event.clientX - box.left) / box.width) * 640;
    const frame = ((unit - EDGE.left) / (EDGE.right - EDGE.left)) * (state.clip.total - 1);
    const far = state.clip.frames.map((kept) => Math.abs(kept - frame));
    change({ at: far.indexOf(Math.min(...far)) });
  };
  strip.addEventListener("pointerdown", (event) => {
    seeking = true;
    strip.setPointerCapture(event.pointerId);
    seek(event);
  });
  strip.addEventListener("pointermove", (event) => { if (seeking) seek(event); });
  for (const end of ["pointerup", "pointercancel"])
    strip.addEventListener(end, () => { seeking = false; });

  root.hidden = false;
  change({});
})();
