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

// Gradio leaves a list open that is left with Tab. Escape closes it.
document.addEventListener("keydown", ({ key, target }) => {
  if (key !== "Tab" || !target.matches?.('input[role="combobox"][aria-expanded="true"]')) return;
  target.dispatchEvent(new KeyboardEvent("keydown", { key: "Escape", bubbles: true }));
});

// Gradio's own list of endpoints. Its button is below the page, where it is not shown.
document.addEventListener("click", (event) => {
  if (event.target.closest?.("[data-endpoints]")) document.querySelector("footer .show-api").click();
});

// Says so within seconds when the studio does not answer or is about to stop, and goes on when it is back: what is in
// the form and what runs survives the reload. A studio that only answers late needs no reload, unless it was silent for
// so long that it may have been started again.
const CHECK_MILLISECONDS = 3000;
const MAX_LATE_CHECKS = 10;
const STATE_TEXTS = {
  late: StudioLanguage.translate("Waiting for the studio …"),
  offline: StudioLanguage.translate("Reconnecting …"),
  draining: StudioLanguage.translate("The studio is about to stop. What runs is finished first, and what waits goes on after the next start."),
};
let wasOffline = false;
let lateChecks = 0;

async function readState() {
  try {
    const answer = await fetch("readyz", { cache: "no-store", signal: AbortSignal.timeout(CHECK_MILLISECONDS) });
    return await answer.json();
  } catch (error) {
    return { status: error.name === "TimeoutError" ? "late" : "offline" };
  }
}

function showState({ status, problems = [] }) {
  const badge = document.querySelector(".masthead .badge");
  if (!badge) return;
  document.documentElement.dataset.studio = status;
  let notice = document.querySelector(".notice");
  const text = STATE_TEXTS[status] ?? (status === "ready" ? "" : problems.map(StudioLanguage.translateMessage).join(" "));
  if (!text) return notice?.remove();
  if (!notice) {
    notice = Object.assign(document.createElement("p"), { className: "notice" });
    notice.setAttribute("role", "status");
    badge.closest(".masthead").after(notice);
  }
  if (notice.textContent !== text) notice.textContent = text;
}

async function checkStudio() {
  if (!document.hidden) {
    const state = await readState();
    showState(state);
    if (wasOffline && state.status === "ready") return location.reload();
    lateChecks = state.status === "late" ? lateChecks + 1 : 0;
    wasOffline ||= state.status === "offline" || lateChecks > MAX_LATE_CHECKS;
  }
  setTimeout(checkStudio, CHECK_MILLISECONDS);
}
setTimeout(checkStudio, CHECK_MILLISECONDS);
