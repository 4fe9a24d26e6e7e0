// The sections of the form that are closed at first: each shows beside its name what is set in it.
const StudioSections = (() => {
  // A variable of the style sheet outlasts the section, which Gradio makes anew for another model.
  function show(name, value, usual) {
    const isSet = value !== null && value !== "" && value !== usual;
    const text = typeof value === "number" ? `×${value.toLocaleString(document.documentElement.lang)}` : value;
    document.documentElement.style.setProperty(`--set-${name}`, isSet ? JSON.stringify(text) : "none");
  }

  return { show };
})();
