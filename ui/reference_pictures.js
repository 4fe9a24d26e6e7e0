// The pictures that the next one is to be like, each with its IP-Adapter if the model needs one.
const StudioReferences = (() => {
  const { button, make, notify, setValue, watch } = StudioElements;
  const { choice, parse, range, showCards, store } = StudioPictureUnits;
  const { translate } = StudioLanguage;
  const MAX_WEIGHT = 2;

  const getField = () => document.querySelector("#field-references textarea, #field-references input");
  let facts = { usable: false, needs_ip_adapter: true, ip_adapters: [], most: 0 };
  let units = [];

  const list = make("div", { className: "units" });
  const file = make("input", { type: "file", accept: "image/*", hidden: true });
  const addPicture = button(translate("Add a reference picture"), () => file.click(), { className: "add" });
  const panel = make("section", { className: "panel", attributes: { "aria-label": translate("Reference pictures") } },
    make("h2", { textContent: translate("Reference pictures") }), list, make("div", { className: "adds" }, addPicture), file);

  // What the form has. Each change is written back at once.
  function read(text) {
    units = parse(text);
    adapt();
    show();
  }

  function write() {
    setValue(getField(), units.length ? JSON.stringify(units) : "");
    show();
  }

  // A model that looks at pictures itself has neither IP-Adapters nor weights.
  function adapt() {
    if (!facts.usable) return;
    const adapted = units.map((unit) => (facts.needs_ip_adapter
      ? { ...unit, ip_adapter: unit.ip_adapter ?? facts.ip_adapters[0]?.id ?? "", weight: unit.weight ?? 1 }
      : { image: unit.image }));
    if (JSON.stringify(adapted) === JSON.stringify(units)) return;
    units = adapted;
    write();
  }

  function change(index, values) {
    units = units.map((unit, place) => (place === index ? { ...unit, ...values } : unit));
    write();
  }

  function remove(index) {
    units = units.filter((_, place) => place !== index);
    write();
    addPicture.focus();
  }

  file.addEventListener("change", () => {
    const [chosen] = file.files;
    file.value = "";
    if (!chosen) return;
    store(chosen).then((image) => {
      units = [...units, { image }];
      adapt();
      write();
    }, (error) => notify(error.message));
  });

  function show() {
    const canAdd = facts.usable && (!facts.needs_ip_adapter || facts.ip_adapters.length > 0);
    panel.hidden = !facts.usable || (!units.length && !canAdd);
    addPicture.disabled = !canAdd || units.length >= facts.most;
    showCards(list, units, makeCard);
  }

  function makeCard(unit, index) {
    const name = (label) => (units.length > 1 ? `${label} (${index + 1})` : label);
    const known = facts.ip_adapters.map((each) => [each.id, each.name]);
    if (!known.some(([id]) => id === unit.ip_adapter)) known.unshift([unit.ip_adapter, unit.ip_adapter]);
    return make("article", { className: "unit" },
      make("div", { className: "pictures" }, make("img", { src: `v1/inputs/${unit.image}`, alt: translate("The reference picture") })),
      ...(facts.needs_ip_adapter ? [
        choice(name("IP-Adapter"), known, unit.ip_adapter, (id) => change(index, { ip_adapter: id }), `${index} ip_adapter`),
        range(name(translate("Weight")), unit.weight, MAX_WEIGHT, (weight) => change(index, { weight }), `${index} weight`),
      ] : []),
      make("div", { className: "unit-actions" },
        button(translate("Remove"), () => remove(index), { ariaLabel: name(translate("Remove")), dataset: { focus: `${index} remove` } })));
  }

  watch(".reference-pictures", (place) => {
    if (!panel.isConnected) place.append(panel);
  });
  watch(".reference-facts", (place) => {
    const text = place.querySelector("[data-facts]")?.dataset.facts;
    if (!text) return;
    facts = JSON.parse(text);
    adapt();
    show();
  });

  return { read };
})();
