// The language of the page and its texts, which the server sends with the page. The English text is the key; a text
// without a translation stays English.
const StudioLanguage = (() => {
  const COOKIE = "studio_language";
  const COOKIE_SECONDS = 365 * 24 * 3600;
  const { code = "en", tag = "en", locale = tag, texts = {}, names = {} } = window.gradio_config?.studio_language ?? {};
  const PLACEHOLDER = /\{(\w+)\}/g;

  const fillIn = (template, values = {}) => template.replace(PLACEHOLDER, (whole, name) => values[name] ?? whole);

  function translate(english, values) {
    const entry = texts[english];
    return fillIn(typeof entry === "string" ? entry : english, values);
  }

  // A text with {count}. A language has a form for each of its plural categories.
  function translateCount(singular, plural, count, values) {
    const entry = texts[plural] ?? { one: singular, other: plural };
    const form = typeof entry === "string" ? entry : entry[new Intl.PluralRules(tag).select(count)] ?? entry.other;
    return fillIn(form, { ...values, count: count.toLocaleString(locale) });
  }

  // Messages of the APIs are English, with their values in the text. The text of the catalogue that a message was made
  // from gives its values. imagegen/languages/messages.py does the same on the server.
  const NESTED = ["problem", "reason", "advice", "action", "what"];
  const MIN_LETTERS = 6;
  const countLetters = (english) => english.replace(PLACEHOLDER, "").match(/\p{L}/gu)?.length ?? 0;

  function compileTemplate(english) {
    const known = new Set();
    const parts = english.split(PLACEHOLDER).map((part, index) => {
      if (index % 2 === 0) return part.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");
      if (known.has(part)) return `\\k<${part}>`;
      known.add(part);
      return `(?<${part}>.+?)`;
    });
    return new RegExp(`^${parts.join("")}$`, "s");
  }

  let templates;
  const listTemplates = () =>
    Object.entries(texts)
      .map(([english, entry]) => ({ english, entry, letters: countLetters(english) }))
      .filter(({ english, entry, letters }) => typeof entry === "string" && /\{\w+\}/.test(english) && letters >= MIN_LETTERS)
      .map((template) => ({ ...template, pattern: compileTemplate(template.english) }));

  function fillInMatch({ entry, letters }, values) {
    const nested = NESTED.filter((name) => values[name]).map((name) => [name, matchMessage(values[name])]);
    return {
      letters: nested.reduce((sum, [, match]) => sum + match.letters, letters),
      translation: fillIn(entry, { ...values, ...Object.fromEntries(nested.map(([name, match]) => [name, match.translation])) }),
    };
  }

  // How many letters of a message are of texts in the catalogue, and its translation.
  function matchMessage(english) {
    if (typeof texts[english] === "string") return { letters: english.length, translation: texts[english] };
    templates ??= listTemplates();
    const found = templates
      .map((template) => [template, english.match(template.pattern)?.groups])
      .filter(([, values]) => values)
      .map(([template, values]) => fillInMatch(template, values));
    if (found.length) return found.reduce((best, each) => (each.letters > best.letters ? each : best));
    const [, name, problem] = english.match(/^([\w.:[\]-]+): (.+)$/s) ?? [];
    if (!name) return { letters: 0, translation: english };
    const match = matchMessage(problem);
    const isPredicate = /^(must|is|needs|cannot|has|should) /.test(problem);
    const sentence = translate("{label} {problem}.", { label: name, problem: match.translation });
    return { ...match, translation: isPredicate ? sentence : `${name}: ${match.translation}` };
  }

  const translateMessage = (english) => (code === "en" ? english : matchMessage(english).translation);

  // The choice is kept in a cookie, which the server reads. In a frame of another website it must be of that frame.
  function choose(language) {
    const path = new URL("./", document.baseURI).pathname;
    const scope = window.top === window.self ? "SameSite=Lax" : "SameSite=None; Secure; Partitioned";
    document.cookie = `${COOKIE}=${language}; path=${path}; max-age=${COOKIE_SECONDS}; ${scope}`;
    location.reload();
  }

  customElements.define("studio-language", class extends HTMLElement {
    connectedCallback() {
      if (this.firstChild) return;
      const select = Object.assign(document.createElement("select"), { ariaLabel: translate("Language") });
      for (const [value, name] of Object.entries(names)) {
        select.append(Object.assign(new Option(name, value, false, value === code), { lang: value }));
      }
      // Each arrow key changes the choice: only Enter, or leaving the list, means it.
      let isByArrow = false;
      const chooseChanged = () => select.value !== code && choose(select.value);
      select.addEventListener("pointerdown", () => (isByArrow = false));
      select.addEventListener("keydown", ({ key, altKey }) => {
        if (key === "Enter") chooseChanged();
        isByArrow = !altKey && !["Enter", " "].includes(key);
      });
      select.addEventListener("change", () => isByArrow || chooseChanged());
      select.addEventListener("blur", chooseChanged);
      this.append(select);
    }
  });

  return { code, locale, translate, translateCount, translateMessage };
})();
