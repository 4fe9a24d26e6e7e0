// What lists of pictures with settings have in common: the pictures that the next one follows, and those it is like. The
// form has each list as JSON, in a hidden field.
const StudioPictureUnits = (() => {
  const { askJson, make } = StudioElements;

  // The entries of a hidden field; none of text that is no list.
  function parse(text) {
    try {
      const entries = JSON.parse(text || "[]");
      return Array.isArray(entries) ? entries.filter((entry) => entry && typeof entry === "object") : [];
    } catch {
      return [];
    }
  }

  // Pictures are stored by the REST API, so that the form has their ids alone.
  async function store(blob) {
    const image = await new Promise((resolve) => {
      const reader = Object.assign(new FileReader(), { onload: () => resolve(reader.result) });
      reader.readAsDataURL(blob);
    });
    return (await askJson("inputs", { method: "POST", body: { image, field: "init_image" } })).id;
  }

  // Shows the cards in a list; what was open stays open, and what had the focus keeps it.
  function showCards(list, units, makeCard) {
    const open = [...list.querySelectorAll("details")].map((details) => details.open);
    const focus = list.contains(document.activeElement) ? document.activeElement.dataset.focus : "";
    list.replaceChildren(...units.map((unit, index) => makeCard(unit, index, open[index])));
    if (focus) list.querySelector(`[data-focus="${focus}"]`)?.focus();
  }

  function choice(label, entries, value, onchange, focus) {
    const options = entries.map(([id, text]) => make("option", { value: id, textContent: text, selected: id === value }));
    return make("label", {}, make("span", { textContent: label }),
      make("select", { onchange: (event) => onchange(event.target.value), dataset: { focus } }, ...options));
  }

  function range(label, value, most, onchange, focus) {
    const shown = make("b", { textContent: value });
    return make("label", {}, make("span", {}, label, shown), make("input", {
      type: "range", min: 0, max: most, step: 0.05, value, dataset: { focus },
      oninput: (event) => Object.assign(shown, { textContent: event.target.value }),
      onchange: (event) => onchange(Number(event.target.value)),
    }));
  }

  return { choice, parse, range, showCards, store };
})();
