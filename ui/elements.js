// What the studio's own elements have in common: they make their content, use the REST API with the session of the page,
// and call handlers of Gradio, to which the forms belong. Addresses are relative, so that they work behind any proxy.
const StudioElements = (() => {
  const TOAST_SECONDS = 10;

  const make = (tag, properties = {}, ...children) => {
    const { dataset, attributes, ...others } = properties;
    const element = Object.assign(document.createElement(tag), others);
    Object.assign(element.dataset, dataset ?? {});
    for (const [name, value] of Object.entries(attributes ?? {})) element.setAttribute(name, value);
    element.append(...children);
    return element;
  };
  const button = (label, onclick, properties = {}) =>
    make("button", { type: "button", textContent: label, onclick, ...properties });

  const describe = (error, status) =>
    error ? StudioLanguage.translateMessage(error.message) : StudioLanguage.translate("The studio answered {status}.", { status });

  async function ask(path, { method = "GET", body } = {}) {
    const options = body === undefined ? { method } : { method, body: JSON.stringify(body) };
    if (body !== undefined) options.headers = { "Content-Type": "application/json" };
    const answer = await fetch(`v1/${path}`, options);
    if (answer.ok) return answer;
    const error = await answer.json().then((content) => content.error, () => undefined);
    throw Object.assign(new Error(describe(error, answer.status)), { code: error?.code });
  }
  const askJson = async (path, options) => (await ask(path, options)).json();

  // Yields the server-sent events of an answer, each with its name and its parsed data.
  async function* readEvents(answer) {
    const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
    let text = "";
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      const blocks = (text + value).split(/\r?\n\r?\n/);
      text = blocks.pop();
      for (const block of blocks) {
        const event = block.match(/^event: (.*)$/m)?.[1];
        const data = block.match(/^data: (.*)$/m)?.[1];
        if (event && data) yield { event, data: JSON.parse(data) };
      }
    }
  }

  // Sets the value of a field as typing does.
  function setValue(field, value) {
    const prototype = field instanceof HTMLTextAreaElement ? HTMLTextAreaElement : HTMLInputElement;
    Object.getOwnPropertyDescriptor(prototype.prototype, "value").set.call(field, value);
    field.dispatchEvent(new Event("input", { bubbles: true }));
  }

  // Calls a handler of Gradio: ui/components/script_bridge.py has a hidden field for the value, and a hidden button.
  function callPage(name, action, value) {
    setValue(document.querySelector(`#${name}-value :is(textarea, input)`), value);
    setTimeout(() => document.getElementById(`${name}-${action}`).click(), 50);
  }

  // Calls `read` with an element of the page as soon as it is there, and whenever something in it changes. `attributes`
  // are the names of those whose changes count, too.
  function watch(selector, read, attributes) {
    const element = document.querySelector(selector);
    if (!element) return setTimeout(watch, 100, selector, read, attributes);
    new MutationObserver(() => read(element)).observe(element, { childList: true, subtree: true, attributeFilter: attributes });
    read(element);
  }

  let toastTimer;
  function notify(text, label, action) {
    document.querySelector(".toast-line")?.remove();
    clearTimeout(toastTimer);
    const removeLater = () => {
      toastTimer = setTimeout(() => toast.remove(), TOAST_SECONDS * 1000);
    };
    const toast = make("div", { className: "toast-line", attributes: { role: "status" } }, make("span", { textContent: text }));
    if (label) {
      toast.append(button(label, () => {
        toast.remove();
        action().catch((error) => notify(error.message));
      }, { title: "Ctrl+Z" }));
    }
    // It stays while it is pointed at or has the focus.
    for (const name of ["pointerenter", "focusin"]) toast.addEventListener(name, () => clearTimeout(toastTimer));
    for (const name of ["pointerleave", "focusout"]) toast.addEventListener(name, removeLater);
    (document.querySelector("dialog[open]") ?? document.querySelector(".gradio-container .contain")).append(toast);
    removeLater();
  }

  return { ask, askJson, button, callPage, make, notify, readEvents, setValue, watch };
})();
