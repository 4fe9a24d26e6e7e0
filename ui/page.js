// Ctrl+Enter, or Cmd+Enter, generates from anywhere in the tab that is open.
document.addEventListener(
  "keydown",
  (event) => {
    if (event.key !== "Enter" || !(event.ctrlKey || event.metaKey) || event.isComposing) return;
    const button = [...document.querySelectorAll("button.generate")].find((each) => each.offsetParent);
    if (!button) return;
    event.preventDefault();
    event.stopPropagation();
    button.click();
  },
  true,
);

// The server names a file by its id, and the server's word would win over the link's.
document.addEventListener("click", async (event) => {
  const link = event.target.closest?.("a.download");
  if (!link) return;
  event.preventDefault();
  const file = await (await fetch(link.href)).blob();
  const named = Object.assign(document.createElement("a"), { href: URL.createObjectURL(file), download: link.download });
  named.click();
  setTimeout(() => URL.revokeObjectURL(named.href), 60_000);
});

// On a small screen the picture may be out of sight when it begins to form.
document.addEventListener("click", (event) => {
  const button = event.target.closest?.("button.generate");
  const stage = button?.closest(".workbench")?.querySelector(".canvas");
  const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
  stage?.scrollIntoView({ block: "nearest", behavior: calm ? "auto" : "smooth" });
});
