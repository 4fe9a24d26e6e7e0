// The prompt: weights of words, earlier prompts, its length in tokens, and a list that completes names.
const StudioPrompt = (() => {
  const { askJson, callPage, make, setValue } = StudioElements;
  const { translate } = StudioLanguage;
  const WEIGHT_STEP = 0.1;
  const MAX_PROMPTS = 100;
  const PROMPTS_KEY = "studio-prompts";
  const COUNT_MILLISECONDS = 300;
  const MAX_SUGGESTIONS = 8;
  const LEAST_LETTERS = 2;

  const getPromptField = () => document.querySelector(".workspace .prompt textarea");

  function insertWords(words) {
    const field = getPromptField();
    const text = field.value.trimEnd();
    if (text.toLowerCase().includes(words.toLowerCase())) return;
    setValue(field, text ? `${text.replace(/,$/, "")}, ${words}` : words);
  }

  // The prompt. Alt and an arrow walk through earlier prompts; Ctrl and an arrow change the weight of selected words.
  const readPrompts = () => {
    try {
      const prompts = JSON.parse(localStorage.getItem(PROMPTS_KEY));
      return Array.isArray(prompts) ? prompts.filter((each) => typeof each === "string") : [];
    } catch {
      return [];
    }
  };
  let place = -1;
  let draft = "";

  function rememberPrompt() {
    const text = getPromptField().value.trim();
    place = -1;
    if (!text) return;
    const prompts = [text, ...readPrompts().filter((each) => each !== text)].slice(0, MAX_PROMPTS);
    localStorage.setItem(PROMPTS_KEY, JSON.stringify(prompts));
  }

  function walkThroughPrompts(field, step) {
    const prompts = readPrompts();
    const next = Math.min(Math.max(place + step, -1), prompts.length - 1);
    if (next === place) return;
    if (place === -1) draft = field.value;
    place = next;
    setValue(field, place === -1 ? draft : prompts[place]);
  }

  function changeWeight(field, step) {
    let [start, end] = [field.selectionStart, field.selectionEnd];
    const text = field.value;
    if (start === end) {
      while (start > 0 && /[^\s,()]/.test(text[start - 1])) start -= 1;
      while (end < text.length && /[^\s,():]/.test(text[end])) end += 1;
    }
    const words = text.slice(start, end);
    if (!words.trim()) return;
    const before = text.slice(0, start).match(/\($/);
    const after = text.slice(end).match(/^:(\d*\.?\d+)\)/);
    const inside = words.match(/^\((.+):(\d*\.?\d+)\)$/s);
    const [plain, old, from, to] =
      before && after ? [words, Number(after[1]), start - 1, end + after[0].length]
        : inside ? [inside[1], Number(inside[2]), start, end] : [words, 1, start, end];
    const weight = Math.max(0, Math.round((old + step) * 10) / 10);
    const weighted = weight === 1 ? plain : `(${plain}:${weight})`;
    setValue(field, text.slice(0, from) + weighted + text.slice(to));
    const first = from + (weight === 1 ? 0 : 1);
    field.setSelectionRange(first, first + plain.length);
  }

  document.addEventListener("keydown", (event) => {
    const field = event.target;
    if (!field.matches?.(".workspace .prompt textarea, #field-negative_prompt textarea")) return;
    const step = { ArrowUp: 1, ArrowDown: -1 }[event.key];
    if (!step || event.shiftKey) return;
    if (event.altKey && field === getPromptField()) walkThroughPrompts(field, step);
    else if (event.ctrlKey || event.metaKey) changeWeight(field, step * WEIGHT_STEP);
    else return;
    event.preventDefault();
  });
  document.addEventListener("input", (event) => {
    if (event.isTrusted && event.target === getPromptField()) place = -1;
  });

  document.addEventListener("click", (event) => {
    if (event.target.closest?.(".workspace button.generate")) rememberPrompt();
  });
  document.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey) && getPromptField()) rememberPrompt();
  });

  // What the server says of the chosen model: its id, and the LoRAs and embeddings that fit it.
  const readFacts = () => JSON.parse(document.querySelector(".prompt-facts [data-facts]")?.dataset.facts ?? "{}");

  // How many tokens the prompt has, and how many fit.
  let counting;
  let counted = "";

  function countLater() {
    clearTimeout(counting);
    counting = setTimeout(count, COUNT_MILLISECONDS);
  }

  async function count() {
    const field = getPromptField();
    const { model, longest } = readFacts();
    if (!field || !model) return;
    const prompt = field.value;
    const seed = Number(document.querySelector("#field-seed :is(input, textarea)")?.value.match(/^\s*\d+\s*$/)?.[0] ?? 0);
    const key = JSON.stringify([model, prompt, seed]);
    if (key === counted) return;
    const isCountable = prompt.trim() && prompt.length <= longest;
    try {
      const length = isCountable ? await askJson("tokens", { method: "POST", body: { prompt, model, seed } }) : { tokens: 0 };
      if (field.value === prompt) showLength(field, length);
    } catch {
      showLength(field, { tokens: 0 });
    }
    counted = key;
  }

  function showLength(field, { tokens, limit, has_choices: hasChoices }) {
    const block = field.closest(".block");
    let line = block.querySelector(".length");
    if (!line) {
      line = make("span", { className: "length" });
      block.append(line);
    }
    line.hidden = !tokens;
    line.textContent = `${hasChoices ? "≈ " : ""}${tokens} / ${limit}`;
    line.title = hasChoices
      ? translate("about {tokens} tokens of {limit}: each seed chooses other words", { tokens, limit })
      : translate("{tokens} tokens of {limit}", { tokens, limit });
    line.classList.toggle("too-long", tokens > limit);
  }

  // Names of LoRAs and embeddings that begin or contain the word at the caret. "<" lists all, and "__" lists wildcards.
  const list = make("ul", { className: "suggestions", id: "prompt-suggestions", attributes: { role: "listbox", "aria-label": translate("Names") } });
  let suggestions = [];
  let chosen = -1;

  // A wildcard that is closed stands before the caret like other words.
  const WILDCARD = /__(?!_)[\p{L}\p{N}_.*/-]+?(?<!_)__/gu;
  let wildcards = [];

  function findFragment(field) {
    const before = field.value.slice(0, field.selectionStart);
    const openWildcard = before.replace(WILDCARD, (each) => " ".repeat(each.length)).match(/__[\p{L}\p{N}_.*/-]*$/u);
    return openWildcard?.[0] ?? before.match(/<[^<>\n,]*$/)?.[0] ?? before.match(/[^\s,()<>:]*$/)[0];
  }

  async function suggestWildcards(field, fragment) {
    if (fragment === "__" || !wildcards.length) wildcards = await askJson("wildcards/list").catch(() => []);
    if (findFragment(field) !== fragment) return;
    const text = fragment.slice(2).toLowerCase();
    const fitting = wildcards.filter(({ name }) => name.toLowerCase().includes(text)).slice(0, MAX_SUGGESTIONS);
    suggestions = fitting.map(({ name }) => ({ kind: "wildcard", names: [name], label: translate("Wildcard"), words: `__${name}__` }));
    chosen = 0;
    showSuggestions(field);
  }

  function suggest(field) {
    const fragment = findFragment(field);
    if (fragment.startsWith("__") && field.selectionStart === field.selectionEnd) return suggestWildcards(field, fragment);
    const isCalled = fragment.startsWith("<");
    const text = fragment.replace(/^<(lora:)?/i, "").toLowerCase();
    if (field.selectionStart !== field.selectionEnd || (!isCalled && text.length < LEAST_LETTERS)) return close(field);
    const matches = (readFacts().adapters ?? []).filter((each) => each.names.some((name) => name.toLowerCase().includes(text)));
    suggestions = matches.filter((each) => isCalled || !each.names.some((name) => name.toLowerCase() === text)).slice(0, MAX_SUGGESTIONS)
      .map((each) => ({ ...each, label: translate(each.label) }));
    chosen = isCalled ? 0 : -1;
    showSuggestions(field);
  }

  function showSuggestions(field) {
    if (!suggestions.length) return close(field);
    list.replaceChildren(...suggestions.map((each, index) =>
      make("li", { id: `prompt-suggestion-${index}`, attributes: { role: "option" }, dataset: { index } },
        make("span", { textContent: each.names[0] }), make("small", { textContent: each.label }))));
    field.closest(".block").append(list);
    field.setAttribute("aria-controls", list.id);
    field.setAttribute("aria-autocomplete", "list");
    mark(field);
  }

  function mark(field) {
    [...list.children].forEach((option, index) => option.setAttribute("aria-selected", String(index === chosen)));
    if (chosen < 0) field.removeAttribute("aria-activedescendant");
    else field.setAttribute("aria-activedescendant", `prompt-suggestion-${chosen}`);
  }

  function close(field) {
    suggestions = [];
    list.remove();
    for (const name of ["aria-activedescendant", "aria-controls", "aria-autocomplete"]) field.removeAttribute(name);
  }

  // A LoRA joins the stack and an embedding the list; the words that call it, or the name of a wildcard, take the place of
  // what was typed.
  function take(field, { kind, id, words }) {
    const fragment = findFragment(field);
    const caret = field.selectionStart;
    const start = caret - fragment.length;
    const [before, after] = [field.value.slice(0, start), field.value.slice(caret)];
    const missing = kind !== "wildcard" && (before + after).toLowerCase().includes(words.toLowerCase()) ? "" : words;
    close(field);
    setValue(field, before + missing + after);
    field.setSelectionRange(start + missing.length, start + missing.length);
    if (kind !== "wildcard") callPage("prompt-adapter", "use", `${kind} ${id}`);
  }

  // The prompts of the shown picture as they were written, before choices were made in them.
  document.addEventListener("click", ({ target }) => {
    const written = target.closest?.("button[data-written]");
    if (!written) return;
    const fields = { prompt: getPromptField(), negative_prompt: document.querySelector("#field-negative_prompt textarea") };
    for (const [name, text] of Object.entries(JSON.parse(written.dataset.written))) {
      if (fields[name]) setValue(fields[name], text);
    }
    getPromptField().focus();
  });

  document.addEventListener("input", (event) => {
    if (event.target !== getPromptField()) return;
    countLater();
    if (event.isTrusted) suggest(event.target);
  });
  document.addEventListener("keydown", (event) => {
    const field = event.target;
    if (field !== getPromptField() || !suggestions.length || event.altKey || event.ctrlKey || event.metaKey) return;
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step) {
      chosen = Math.min(Math.max(chosen + step, -1), suggestions.length - 1);
      mark(field);
    } else if (event.key === "Enter" && chosen >= 0) take(field, suggestions[chosen]);
    else if (event.key === "Escape") close(field);
    else return;
    event.preventDefault();
    event.stopPropagation();
  }, true);
  list.addEventListener("pointerdown", (event) => {
    event.preventDefault();
    const option = event.target.closest("li");
    if (option) take(getPromptField(), suggestions[option.dataset.index]);
  });
  document.addEventListener("focusout", ({ target }) => {
    if (target === getPromptField()) close(target);
  });

  // The form is also filled by the server, and the model changes.
  setInterval(() => !document.hidden && count(), 1000);

  return { getPromptField, insertWords };
})();
