// The pictures that the next one follows, each with its ControlNet. The form has them as JSON, in a hidden field.
const StudioControls = (() => {
  const { askJson, button, make, notify, setValue, watch } = StudioElements;
  const { choice, parse, range, showCards, store } = StudioPictureUnits;
  const { translate } = StudioLanguage;
  const DRAWN = "none";
  const USUAL = { weight: 1, start: 0, end: 1, mode: "balanced" };

  const getField = () => document.querySelector("#field-controls textarea, #field-controls input");
  let facts = { controlnets: [], preprocessors: [], types: [], modes: [], most: 0 };
  let units = [];
  // Control maps that were made, as promises of addresses, by picture and preprocessor.
  const maps = new Map();

  const list = make("div", { className: "units" });
  const file = make("input", { type: "file", accept: "image/*", hidden: true });
  const addPicture = button(translate("Follow a picture"), () => file.click(), { className: "add" });
  const addDrawing = button(translate("Draw what to follow"), () => draw(), { className: "add" });
  const panel = make("section", { className: "panel", attributes: { "aria-label": "ControlNet" } },
    make("h2", { textContent: "ControlNet" }), list, make("div", { className: "adds" }, addPicture, addDrawing), file);

  // What the form has. Each change is written back at once.
  function read(text) {
    units = parse(text);
    show();
  }

  function write() {
    setValue(getField(), units.length ? JSON.stringify(units) : "");
    show();
  }

  function change(index, values) {
    units = units.map((unit, place) => (place === index ? { ...unit, ...values } : unit));
    write();
  }

  function findPreprocessor(id) {
    return facts.controlnets.find((each) => each.id === id)?.preprocessor ?? DRAWN;
  }

  // What a ControlNet cannot do goes back to what all can.
  function adapt(id) {
    const { modes = [], types = [] } = facts.controlnets.find((each) => each.id === id) ?? {};
    return (unit) => ({
      mode: modes.includes(unit.mode) ? unit.mode : USUAL.mode,
      control_type: types.includes(unit.control_type) ? unit.control_type : undefined,
    });
  }

  function add(image, preprocessor) {
    const controlnet = facts.controlnets[0]?.id ?? "";
    units = [...units, { controlnet, image, preprocessor: preprocessor ?? findPreprocessor(controlnet), ...USUAL }];
    write();
  }

  file.addEventListener("change", () => {
    const [chosen] = file.files;
    file.value = "";
    if (chosen) store(chosen).then((image) => add(image), (error) => notify(error.message));
  });

  function getMap({ image, preprocessor }) {
    const key = `${image} ${preprocessor}`;
    if (!maps.has(key)) {
      const answer = askJson("preprocess", { method: "POST", body: { image, preprocessor } });
      maps.set(key, answer.then((map) => `v1/inputs/${map.id}`, (error) => {
        maps.delete(key);
        throw error;
      }));
    }
    return maps.get(key);
  }

  // The cards.
  function show() {
    panel.hidden = !units.length && !facts.controlnets.length;
    addPicture.disabled = addDrawing.disabled = units.length >= facts.most || !facts.controlnets.length;
    showCards(list, units, makeCard);
  }

  function makeCard(unit, index, isOpen) {
    const name = (label) => (units.length > 1 ? `${label} (${index + 1})` : label);
    const picture = make("img", { src: `v1/inputs/${unit.image}`, alt: translate("The picture to follow") });
    const map = make("img", { alt: translate("The control map"), hidden: true });
    if (unit.preprocessor !== DRAWN) {
      getMap(unit).then((address) => Object.assign(map, { src: address, hidden: false }), (error) => notify(error.message));
    }
    const known = facts.controlnets.map((each) => [each.id, each.name]);
    if (!known.some(([id]) => id === unit.controlnet)) known.unshift([unit.controlnet, unit.controlnet]);
    const own = facts.controlnets.find((each) => each.id === unit.controlnet);
    const modes = facts.modes.filter(([name]) => name === unit.mode || own?.modes.includes(name));
    const types = facts.types.filter(([name]) => name === unit.control_type || own?.types.includes(name));
    const setControlnet = (id) => change(index, { controlnet: id, ...adapt(id)(unit), ...(unit.preprocessor === DRAWN ? {} : { preprocessor: findPreprocessor(id) }) });
    return make("article", { className: "unit" },
      make("div", { className: "pictures" }, picture, map),
      choice(name("ControlNet"), known, unit.controlnet, setControlnet, `${index} controlnet`),
      choice(name(translate("Preprocessor")), facts.preprocessors, unit.preprocessor, (preprocessor) => change(index, { preprocessor }), `${index} preprocessor`),
      ...(types.length ? [choice(name(translate("What the map shows")), [["", translate("What the preprocessor makes")], ...types], unit.control_type ?? "", (type) => change(index, { control_type: type || undefined }), `${index} type`)] : []),
      range(name(translate("Weight")), unit.weight, 2, (weight) => change(index, { weight }), `${index} weight`),
      make("details", { open: isOpen ?? false }, make("summary", { textContent: translate("When and how") }),
        range(name(translate("From this share of the steps")), unit.start, 1, (start) => change(index, { start }), `${index} start`),
        range(name(translate("Up to this share of the steps")), unit.end, 1, (end) => change(index, { end }), `${index} end`),
        ...(modes.length > 1 ? [choice(name(translate("What counts more")), modes, unit.mode, (mode) => change(index, { mode }), `${index} mode`)] : [])),
      make("div", { className: "unit-actions" },
        ...(unit.preprocessor === DRAWN ? [button(translate("Draw on"), () => draw(index), { dataset: { focus: `${index} draw` } })] : []),
        button(translate("Remove"), () => remove(index), { ariaLabel: name(translate("Remove")), dataset: { focus: `${index} remove` } })));
  }

  function remove(index) {
    units = units.filter((_, place) => place !== index);
    write();
    addPicture.focus();
  }

  // Drawing: white lines on black, in the size of the next picture.
  const canvas = make("canvas", { tabIndex: 0, attributes: { role: "img", "aria-label": translate("Draw with white lines on black.") } });
  const drawing = new MaskDrawing(canvas, "#ffffff");
  const width = make("input", { type: "range", min: 1, max: 40, value: 5, attributes: { "aria-label": translate("Width of the lines") }, title: translate("Width of the lines") });
  let tool = "brush";
  let drawn = -1;
  let isDown = false;
  const tools = [["brush", translate("Brush")], ["eraser", translate("Eraser")]].map(([name, label]) =>
    button(label, () => chooseTool(name), { dataset: { tool: name } }));
  const dialog = make("dialog", { className: "sketch", attributes: { "aria-label": translate("Draw what to follow") } }, canvas,
    make("div", { className: "mask-bar", attributes: { role: "toolbar" } }, ...tools, width,
      button(translate("Undo"), () => drawing.undo(), { title: "Ctrl+Z" }), button(translate("Redo"), () => drawing.redo(), { title: "Ctrl+Shift+Z" }),
      button(translate("Clear"), () => drawing.add({ tool: "clear" })), make("span", { className: "gap" }),
      button(translate("Cancel"), () => dialog.close()), button(translate("Done"), finish, { className: "done" })));

  function chooseTool(name) {
    tool = name;
    for (const each of tools) each.setAttribute("aria-pressed", String(each.dataset.tool === name));
  }

  async function draw(index = -1) {
    drawn = index;
    const sides = ["width", "height"].map((side) => Number(document.querySelector(`#field-${side} input[type=number]`)?.value) || 512);
    if (!dialog.isConnected) document.querySelector(".gradio-container").append(dialog);
    if (index < 0) drawing.reset(...sides);
    else {
      const image = make("img", { src: `v1/inputs/${units[index].image}` });
      await image.decode().catch(() => {});
      drawing.reset(image.naturalWidth || sides[0], image.naturalHeight || sides[1]);
      if (image.naturalWidth) drawing.addStored(image);
    }
    canvas.style.aspectRatio = `${canvas.width} / ${canvas.height}`;
    chooseTool("brush");
    dialog.showModal();
  }

  async function finish() {
    if (drawing.isEmpty) return dialog.close();
    try {
      const image = await store(await drawing.toFile());
      if (drawn < 0) add(image, DRAWN);
      else change(drawn, { image });
      dialog.close();
    } catch (error) {
      notify(error.message);
    }
  }

  function toPixels(event) {
    const box = canvas.getBoundingClientRect();
    return [((event.clientX - box.x) / box.width) * canvas.width, ((event.clientY - box.y) / box.height) * canvas.height];
  }

  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    isDown = true;
    const takesAway = tool === "eraser" || event.button !== 0;
    const pressure = event.pointerType === "pen" && event.pressure ? 0.4 + 0.6 * event.pressure : 1;
    // Lines are as wide on a large picture as on a small one.
    const size = (width.value * pressure * Math.max(canvas.width, canvas.height)) / 512;
    drawing.begin({ tool: takesAway ? "eraser" : "brush", size, points: [toPixels(event)] });
    event.preventDefault();
  });
  canvas.addEventListener("pointermove", (event) => {
    if (!isDown) return;
    for (const each of event.getCoalescedEvents?.() ?? [event]) drawing.extend(toPixels(each));
  });
  for (const name of ["pointerup", "pointercancel"]) canvas.addEventListener(name, () => (isDown = false));
  canvas.addEventListener("contextmenu", (event) => event.preventDefault());
  dialog.addEventListener("keydown", (event) => {
    if (!(event.ctrlKey || event.metaKey) || event.key.toLowerCase() !== "z") return;
    if (event.shiftKey) drawing.redo();
    else drawing.undo();
    event.preventDefault();
  });

  watch(".control-units", (place) => {
    if (!panel.isConnected) place.append(panel);
  });
  watch(".control-facts", (place) => {
    const text = place.querySelector("[data-facts]")?.dataset.facts;
    if (!text) return;
    facts = JSON.parse(text);
    show();
  });

  return { read };
})();
