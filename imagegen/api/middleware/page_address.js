// Runs before Gradio's scripts. The server knows its address from the request that a proxy sent, the browser from its
// address bar. If they differ, Gradio would send the page's requests to the wrong one.
{
  const known = new URL(window.gradio_config.root);
  const prefix = known.pathname.replace(/\/$/, "");

  // Shows a text instead of the page.
  const showProblem = (text) => {
    const paragraph = Object.assign(document.createElement("p"), { textContent: text });
    paragraph.setAttribute("role", "alert");
    paragraph.style = "max-width: 40em; margin: 4em auto; padding: 0 1em; font: 16px/1.5 sans-serif";
    document.body.replaceChildren(paragraph);
  };

  const askServer = async () => {
    const answer = await fetch(`${window.gradio_config.root}/healthz`, { method: "OPTIONS" });
    if (!answer.ok) showProblem((await answer.json()).detail);
  };

  if (prefix && location.pathname === prefix) {
    // The addresses in the page are relative, and would lead outside.
    location.replace(`${prefix}/${location.search}`);
  } else if (![`${prefix}/`, "/"].includes(location.pathname)) {
    const address = location.origin + location.pathname.replace(/\/$/, "");
    addEventListener("DOMContentLoaded", () =>
      showProblem(`The studio does not know that it is at ${address}. Set 'public_url' to this address.`),
    );
  } else if (known.origin !== location.origin) {
    window.gradio_config.root = location.origin + prefix;
    askServer();
  }
}
