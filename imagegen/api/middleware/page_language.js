// Runs before Gradio's scripts, which take their own texts from the language of the browser: the studio has chosen the
// language of the page from a cookie, or from what the browser accepts.
{
  const language = (window.gradio_config.studio_language ??= { code: "en", tag: "en" });
  // Dates are written as in the user's country.
  language.locale = navigator.languages.find((each) => each.split("-")[0] === language.code) ?? language.tag;
  document.documentElement.lang = language.tag;
  Object.defineProperty(navigator, "language", { value: language.tag });
  Object.defineProperty(navigator, "languages", { value: [language.tag] });
}
