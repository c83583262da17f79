// Keys, a log that stays at its end, a word when the connection is lost, copy buttons. Every page works without it.
(() => {
  "use strict";
  const go = { c: "/", a: "/alerts", p: "/catalog", h: "/hosts", s: "/settings" };
  let first = "";

  const isTyping = (at) => at.closest("input, textarea, select, [contenteditable]") !== null;
  const rows = () => [...document.querySelectorAll("table.rows tbody a")];

  const step = (by) => {
    const links = rows();
    const next = links[links.indexOf(document.activeElement) + by] ?? links[by > 0 ? 0 : links.length - 1];
    next?.focus();
  };

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || isTyping(event.target)) return;
    const keys = document.getElementById("keys");
    if (first === "g" && go[event.key]) {
      location.assign(go[event.key]);
    } else if (event.key === "j" || event.key === "k") {
      step(event.key === "j" ? 1 : -1);
    } else if (event.key === "/") {
      const filter = document.querySelector("[data-filter]");
      if (filter) { event.preventDefault(); filter.focus(); }
    } else if (event.key === "?" && keys && !keys.open) {
      keys.showModal();
    }
    first = event.key === "g" ? "g" : "";
  });

  // the log follows its end only while the reader is there
  const log = document.getElementById("log");
  if (log) {
    let atEnd = true;
    log.addEventListener("scroll", () => { atEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 24; });
    new MutationObserver(() => {
      while (log.childElementCount > 2000) log.firstElementChild.remove();
      if (atEnd) log.scrollTop = log.scrollHeight;
    }).observe(log, { childList: true });
    if (!location.hash.startsWith("#L")) log.scrollTop = log.scrollHeight;
  }

  const lost = document.getElementById("lost");
  document.addEventListener("htmx:sse:error", () => { if (lost) lost.hidden = false; });
  document.addEventListener("htmx:sse:after:connection", (event) => {
    if (lost && event.detail.connection.status === 200) lost.hidden = true;
  });

  for (const box of document.querySelectorAll(".copy")) {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = "Copy";
    button.addEventListener("click", async () => {
      await navigator.clipboard.writeText(box.querySelector("code").textContent);
      button.textContent = "Copied";
      setTimeout(() => { button.textContent = "Copy"; }, 2000);
    });
    box.append(button);
  }

  // a second click must not send a form twice
  document.addEventListener("submit", (event) => {
    const form = event.target;
    if (form.dataset.sent) { event.preventDefault(); return; }
    if (form.method === "post" && !form.matches("[hx-post]")) {
      form.dataset.sent = "yes";
      form.querySelectorAll("button").forEach((button) => { button.setAttribute("aria-busy", "true"); });
      setTimeout(() => { delete form.dataset.sent; form.querySelectorAll("button").forEach((b) => b.removeAttribute("aria-busy")); }, 5000);
    }
  });
})();
