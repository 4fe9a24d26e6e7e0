// The mask of inpainting is painted over the start image. It is stored by the REST API; the form gets its id.
(() => {
  const { ask, button, make, notify, setValue, watch } = StudioElements;
  const { translate } = StudioLanguage;
  const TOOL = "inpainting";
  const IMAGE_FIELD = "#field-init_image";
  const MASK_FIELD = "#field-mask_image";
  const [LEAST_SIZE, MOST_SIZE] = [2, 400];
  const SIZE_STEP = 1.15;
  const ZOOM_STEP = 1.25;
  const MOST_ZOOM = 16;
  // Pixels on the screen that an arrow key moves the brush.
  const KEY_STEP = 10;

  const state = { tool: "brush", size: 40, zoom: 1, x: 0, y: 0, pointers: new Map(), cursor: null, isDown: false };
  // What was stored last: its id, and how often the mask had changed then.
  let stored = { id: "", changes: 0 };
  let changes = 0;
  let storing = Promise.resolve();
  let source = "";
  let isReady = false;

  const image = make("img", { alt: "", draggable: false });
  const canvas = make("canvas", { attributes: { "aria-hidden": "true" } });
  const ring = make("div", { className: "ring" });
  const sheet = make("div", { className: "sheet" }, image, canvas, ring);
  const surface = make("div", {
    className: "surface",
    tabIndex: 0,
    attributes: { role: "application", "aria-label": translate("Paint the mask. Arrow keys move the brush, Enter puts it down and lifts it.") },
  }, sheet);
  const drawing = new MaskDrawing(canvas);

  const tools = Object.fromEntries([["brush", translate("Brush"), "B"], ["eraser", translate("Eraser"), "E"], ["lasso", translate("Lasso"), "L"]].map(
    ([name, label, key]) => [name, button(label, () => chooseTool(name), { title: `${label} (${key})`, attributes: { "aria-pressed": "false" } })],
  ));
  const sizeRange = make("input", { type: "range", min: 0, max: 100, attributes: { "aria-label": translate("Size of the brush") }, title: translate("Size of the brush: [ and ], or the wheel") });
  const undoButton = button(translate("Undo"), () => change(drawing.undo()), { title: "Ctrl+Z" });
  const redoButton = button(translate("Redo"), () => change(drawing.redo()), { title: "Ctrl+Shift+Z" });
  const bar = make("div", { className: "mask-bar", attributes: { role: "toolbar", "aria-label": translate("Mask") } },
    ...Object.values(tools), sizeRange, undoButton, redoButton,
    button(translate("Invert"), () => addAll("invert"), { title: "I" }), button(translate("Clear"), () => addAll("clear"), { title: "Delete" }),
    make("span", { className: "gap" }),
    button("−", () => zoomAt(1 / ZOOM_STEP), { ariaLabel: translate("Zoom out"), title: "-", className: "zoom" }),
    button(translate("Fit"), fit, { title: "0" }),
    button("+", () => zoomAt(ZOOM_STEP), { ariaLabel: translate("Zoom in"), title: "+", className: "zoom" }),
    button(translate("Done"), close, { className: "done" }));
  const editor = make("section", { className: "mask-editor", hidden: true, attributes: { "aria-label": translate("Mask") } }, surface, bar);

  const getField = () => document.querySelector(`${MASK_FIELD} textarea, ${MASK_FIELD} input`);
  const getTool = () => document.querySelector(".workspace .tools button[data-tab-id].selected")?.dataset.tabId;
  // An upload is the start image once the server has stored it.
  const findImage = () => document.querySelector(`${IMAGE_FIELD} img`)?.src.match(/.*\/(?:inputs|pictures)\/[0-9a-f]+\.png$/)?.[0] ?? "";

  // Opening and closing.
  async function open(takesFocus = false) {
    const column = document.querySelector(".workspace .stage-column");
    if (!column || !findImage()) return;
    if (editor.parentElement !== column) column.append(editor);
    editor.hidden = false;
    column.closest(".workspace").classList.add("masking");
    await readSource();
    fit();
    chooseTool(state.tool);
    if (takesFocus) surface.focus({ preventScroll: true });
  }

  function close() {
    editor.hidden = true;
    document.querySelector(".workspace")?.classList.remove("masking");
  }

  // Takes over the start image, and the mask that the form has for it.
  async function readSource() {
    const address = findImage();
    const id = getField()?.value ?? "";
    if (address === source && id === stored.id) return;
    const isOther = address !== source;
    source = address;
    state.isDown = false;
    isReady = false;
    image.src = address;
    if (address) await image.decode().catch(() => {});
    if (source !== address) return;
    drawing.reset(image.naturalWidth, image.naturalHeight);
    changes += 1;
    if (id && (!isOther || id !== stored.id)) {
      const mask = make("img", { src: `v1/inputs/${id}` });
      await mask.decode().catch(() => {});
      if (mask.naturalWidth) drawing.addStored(mask);
      stored = { id, changes };
    } else {
      stored = { id: "", changes };
      if (id) setValue(getField(), "");
    }
    isReady = true;
    showSteps();
  }

  // Storing. The form has the id of the mask as soon as it is stored, and Generate waits for that.
  function change(hasChanged = true) {
    if (!hasChanged) return;
    changes += 1;
    showSteps();
    const own = changes;
    storing = storing.then(() => store(own)).catch((error) => notify(error.message));
  }

  async function store(own) {
    if (own !== changes) return;
    const id = drawing.isEmpty ? "" : await upload();
    if (own !== changes) return;
    stored = { id, changes: own };
    setValue(getField(), id);
  }

  async function upload() {
    const file = await drawing.toFile();
    const content = await new Promise((resolve) => {
      const reader = Object.assign(new FileReader(), { onload: () => resolve(reader.result) });
      reader.readAsDataURL(file);
    });
    const answer = await ask("inputs", { method: "POST", body: { image: content, field: "mask_image" } });
    return (await answer.json()).id;
  }

  document.addEventListener("click", (event) => {
    const generate = event.target.closest?.(".workspace button.generate");
    if (!generate || getTool() !== TOOL) return;
    if (stored.changes === changes) return close();
    event.preventDefault();
    event.stopImmediatePropagation();
    // Gradio reads the field a moment after it was set.
    storing.then(() => setTimeout(() => stored.changes === changes && generate.click(), 60));
  }, true);

  // The tools.
  function chooseTool(name) {
    state.tool = name;
    for (const [each, toolButton] of Object.entries(tools)) toolButton.setAttribute("aria-pressed", String(each === name));
    showRing();
  }

  function setSize(size) {
    state.size = Math.min(Math.max(size, LEAST_SIZE), MOST_SIZE);
    const scale = Math.log(MOST_SIZE / LEAST_SIZE);
    sizeRange.value = (Math.log(state.size / LEAST_SIZE) / scale) * 100;
    showRing();
  }
  sizeRange.addEventListener("input", () => setSize(LEAST_SIZE * (MOST_SIZE / LEAST_SIZE) ** (sizeRange.value / 100)));

  function addAll(tool) {
    drawing.add({ tool });
    change();
  }

  function showSteps() {
    undoButton.disabled = !drawing.strokes.length;
    redoButton.disabled = !drawing.undone.length;
  }

  // The view. One pixel of the picture is `getScale()` pixels of the screen.
  function getScale() {
    const fits = Math.min(surface.clientWidth / image.naturalWidth, surface.clientHeight / image.naturalHeight) || 1;
    return fits * 0.94 * state.zoom;
  }

  function showView() {
    const scale = getScale();
    Object.assign(sheet.style, {
      width: `${image.naturalWidth * scale}px`,
      height: `${image.naturalHeight * scale}px`,
      transform: `translate(${state.x}px, ${state.y}px)`,
    });
    showRing();
  }

  function fit() {
    Object.assign(state, { zoom: 1, x: 0, y: 0 });
    showView();
  }

  // `at` is a point from the middle of the surface, which stays where it is.
  function zoomAt(factor, at = [0, 0]) {
    const zoom = Math.min(Math.max(state.zoom * factor, 1), MOST_ZOOM);
    const change = zoom / state.zoom;
    state.x = zoom === 1 ? 0 : at[0] - (at[0] - state.x) * change;
    state.y = zoom === 1 ? 0 : at[1] - (at[1] - state.y) * change;
    state.zoom = zoom;
    showView();
  }

  function fromMiddle(event) {
    const box = surface.getBoundingClientRect();
    return [event.clientX - box.x - box.width / 2, event.clientY - box.y - box.height / 2];
  }

  function toPixels([x, y]) {
    const scale = getScale();
    return [(x - state.x) / scale + image.naturalWidth / 2, (y - state.y) / scale + image.naturalHeight / 2];
  }

  function showRing() {
    const { cursor, tool } = state;
    ring.hidden = !cursor || tool === "lasso";
    if (ring.hidden) return;
    const scale = getScale();
    const [x, y] = toPixels(cursor);
    const side = state.size * scale;
    Object.assign(ring.style, { width: `${side}px`, height: `${side}px`, left: `${x * scale - side / 2}px`, top: `${y * scale - side / 2}px` });
  }

  // Strokes.
  function put(point, { takesAway = false, pressure = 1 } = {}) {
    if (!isReady) return;
    state.isDown = true;
    const lasso = takesAway ? "unlasso" : "lasso";
    const tool = state.tool === "lasso" ? lasso : takesAway ? "eraser" : state.tool;
    drawing.begin({ tool, size: state.size * pressure, points: [toPixels(point)] });
  }

  function lift() {
    if (!state.isDown) return;
    state.isDown = false;
    change();
  }

  // One finger, the pen or the mouse paints; two fingers, the middle button, or the mouse with Space move the view.
  let pinch = null;
  let isMoving = false;
  let hasSpace = false;

  surface.addEventListener("pointerdown", (event) => {
    surface.focus({ preventScroll: true });
    surface.setPointerCapture(event.pointerId);
    state.pointers.set(event.pointerId, fromMiddle(event));
    state.cursor = fromMiddle(event);
    if (state.pointers.size === 2) {
      // The first finger had begun a stroke.
      if (state.isDown) {
        drawing.undo();
        drawing.undone = [];
        state.isDown = false;
      }
      pinch = measurePinch();
    } else if (event.button === 1 || hasSpace) isMoving = true;
    else if (event.button === 0 || event.button === 2 || event.button === 5) {
      const pressure = event.pointerType === "pen" && event.pressure ? 0.4 + 0.6 * event.pressure : 1;
      put(fromMiddle(event), { takesAway: event.button !== 0 || event.altKey, pressure });
    }
    event.preventDefault();
  });

  surface.addEventListener("pointermove", (event) => {
    const at = fromMiddle(event);
    const before = state.pointers.get(event.pointerId);
    state.cursor = at;
    if (before) state.pointers.set(event.pointerId, at);
    if (pinch && state.pointers.size === 2) {
      const next = measurePinch();
      state.x += next.middle[0] - pinch.middle[0];
      state.y += next.middle[1] - pinch.middle[1];
      zoomAt(next.distance / pinch.distance, next.middle);
      pinch = next;
    } else if (isMoving && before) {
      state.x += at[0] - before[0];
      state.y += at[1] - before[1];
      showView();
    } else if (state.isDown) {
      for (const each of event.getCoalescedEvents?.() ?? [event]) drawing.extend(toPixels(fromMiddle(each)));
    }
    showRing();
  });

  function measurePinch() {
    const [[ax, ay], [bx, by]] = [...state.pointers.values()];
    return { distance: Math.hypot(ax - bx, ay - by) || 1, middle: [(ax + bx) / 2, (ay + by) / 2] };
  }

  for (const name of ["pointerup", "pointercancel"]) {
    surface.addEventListener(name, (event) => {
      state.pointers.delete(event.pointerId);
      if (state.pointers.size < 2) pinch = null;
      isMoving = false;
      lift();
    });
  }
  surface.addEventListener("pointerleave", () => {
    state.cursor = null;
    showRing();
  });
  surface.addEventListener("contextmenu", (event) => event.preventDefault());
  surface.addEventListener("wheel", (event) => {
    event.preventDefault();
    const isUp = event.deltaY < 0;
    if (event.ctrlKey || event.metaKey) zoomAt(isUp ? ZOOM_STEP : 1 / ZOOM_STEP, fromMiddle(event));
    else setSize(state.size * (isUp ? SIZE_STEP : 1 / SIZE_STEP));
  }, { passive: false });

  // Keys.
  const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
  const KEYS = {
    b: () => chooseTool("brush"),
    e: () => chooseTool("eraser"),
    l: () => chooseTool("lasso"),
    i: () => addAll("invert"),
    Delete: () => addAll("clear"),
    "[": () => setSize(state.size / SIZE_STEP),
    "]": () => setSize(state.size * SIZE_STEP),
    "+": () => zoomAt(ZOOM_STEP, state.cursor ?? undefined),
    "-": () => zoomAt(1 / ZOOM_STEP, state.cursor ?? undefined),
    0: fit,
    Enter: () => (state.isDown ? lift() : put((state.cursor ??= [0, 0]))),
    Escape: close,
  };

  editor.addEventListener("keydown", (event) => {
    if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "z") {
      change(event.shiftKey ? drawing.redo() : drawing.undo());
    } else if (event.ctrlKey || event.metaKey || event.altKey || (event.target !== surface && event.key !== "Escape")) return;
    else if (event.key === " ") hasSpace = true;
    else if (ARROWS[event.key]) {
      const [x, y] = state.cursor ?? [0, 0];
      state.cursor = [x + ARROWS[event.key][0] * KEY_STEP, y + ARROWS[event.key][1] * KEY_STEP];
      if (state.isDown) drawing.extend(toPixels(state.cursor));
      showRing();
    } else if (KEYS[event.key.length === 1 ? event.key.toLowerCase() : event.key]) KEYS[event.key.length === 1 ? event.key.toLowerCase() : event.key]();
    else return;
    event.preventDefault();
    event.stopPropagation();
  });
  document.addEventListener("keyup", (event) => {
    if (event.key === " ") hasSpace = false;
  });
  new ResizeObserver(() => !editor.hidden && showView()).observe(surface);

  // The editor opens with its tool, and for another start image; it closes with another tool.
  document.addEventListener("click", (event) => {
    if (event.target.closest?.("[data-mask]")) open(true);
  });
  let seen = "";
  function follow() {
    const now = `${getTool()} ${findImage()}`;
    if (now === seen) return;
    seen = now;
    if (getTool() !== TOOL) return close();
    if (findImage()) open();
    else {
      close();
      readSource();
    }
  }
  // The class of a tab says whether it is selected, and the address of the picture whether it is another one.
  watch(".workspace .subject", follow, ["class", "src"]);

  setSize(state.size);
  showSteps();
})();
