// At the end: the batch that was made, how the rows tried first went, and the same as Python.

function batchPage(view) {
  const { batch, python, platform } = view.snapshot;
  return [
    batch.trial ? trialOf(view, batch) : null,
    h("ul", { key: "cards", class: "bk-cards" }, launchedCard(view, batch)),
    h("div", { key: "after", class: "bk-buttons" },
      h("button", { class: "bk-button", type: "button", "aria-expanded": String(Boolean(python)), onclick: () => view.intend("show_python") }, "Show as Python"),
      h("button", { class: "bk-button", type: "button", onclick: () => view.intend("again") }, "Make another batch")),
    python ? pythonOf(view, python) : null,
    h("p", { key: "hint", class: "bk-muted bk-hint" }, `It runs on ${platform}. Every row of it, its results and all other batches are in the dashboard: `, h("code", null, "ws.dashboard()"), "."),
  ];
}

function launchedCard(view, batch) {
  const { card, note } = batch;
  const title = view.id(`card-${card.id}`);
  const busy = view.local.busy?.has(card.id);
  const button = (text, intent, more = {}) => press(view, text, {
    label: `${text.replace("…", "")} ${card.name}`, off: !card.commands.includes(intent) || busy, run: () => send(view, intent, card), ...more,
  });
  return h("li", { key: card.id, class: "bk-card" },
    h("article", { "aria-labelledby": title, class: "bk-stack" },
      h("div", { key: "head", class: "bk-card-head" },
        h("h3", { id: title, class: "bk-cut", title: card.name }, card.name),
        h("span", { class: `bk-chip bk-${card.tone}`, role: "status" }, card.state)),
      h("p", { key: "what", class: "bk-card-what bk-muted" },
        [card.agent, card.source, paceOf(card), card.target, card.id].filter(Boolean).map((text, index) => h("span", { key: index, class: "bk-cut", title: text }, text))),
      progressOf(card),
      countsOf(card),
      timesOf(card),
      card.reason ? h("p", { key: "reason", class: "bk-card-reason" }, card.reason) : null,
      card.warning ? h("div", { key: "warning", class: "bk-notice bk-warning" }, h("strong", null, "Warning:"), h("span", { class: "bk-notice-text" }, card.warning)) : null,
      h("div", { key: "note", role: "status" }, note ? h("div", { class: "bk-notice bk-error" }, h("strong", null, "Error:"), h("span", { class: "bk-notice-text" }, note)) : null),
      h("div", { key: "buttons", class: "bk-buttons" },
        card.commands.includes("take_over") ? button("Continue here", "take_over", { primary: true }) : null,
        button("Pause", "pause"),
        button("Resume", "resume"),
        button("Cancel…", "cancel", { danger: true, run: () => askCancel(view, card) }))));
}

function trialOf(view, { tried, asks, rest, card, trial }) {
  const open = tried.filter((row) => row.open || ["Pending", "Triggering"].includes(row.status)).length;
  const busy = view.local.busy?.has(card.id);
  let words = `Trying the first ${counted(trial, "row")}…`;
  if (asks) words = open ? "They are triggered and still running. You can wait for how they go, or go on." : "They have ended. Look at how they went, then go on with the rest.";
  else if (card.final || !rest) words = "Nothing is held back any more.";
  else if (card.state === "Running" && !card.reason) words = "The rest is on its way.";
  return h("section", { key: "trial", class: "bk-panel", "aria-labelledby": view.id("trial") },
    h("h3", { id: view.id("trial") }, `The first ${counted(trial, "row")}`),
    h("p", { role: "status" }, words),
    h("div", { class: "bk-scroll", tabindex: 0, role: "group", "aria-labelledby": view.id("trial") },
      h("table", { class: "bk-table" },
        h("thead", null, h("tr", null, ["Row", "Status", "Execution", "How it went"].map((text) => h("th", { key: text, scope: "col" }, text)))),
        h("tbody", null, tried.map((row) => h("tr", { key: row.row },
          h("th", { scope: "row" }, number(row.row)),
          h("td", null, row.status),
          h("td", null, row.url ? h("a", { href: row.url, target: "_blank", rel: "noopener noreferrer" }, row.execution || "Open") : row.execution || "–",
            row.outcome ? ` (${row.outcome})` : ""),
          h("td", { class: "bk-said" }, row.said || "–")))))),
    asks ? h("div", { class: "bk-buttons" },
      press(view, `Go on with the other ${counted(rest, "row")}`, { key: "go-on", primary: true, off: busy || !card.commands.includes("resume"), run: () => send(view, "resume", card) }),
      press(view, "Stop here…", { key: "stop", danger: true, off: busy || !card.commands.includes("cancel"), run: () => askCancel(view, card) })) : null);
}

function pythonOf(view, python) {
  const copied = view.local.copied === python;
  const copy = async () => {
    try {
      await navigator.clipboard.writeText(python);
      view.local.copied = python;
    } catch {
      view.local.selectWanted = true;
    }
    view.redraw();
  };
  return h("section", { key: "python", class: "bk-panel", "aria-labelledby": view.id("python") },
    h("div", { class: "bk-row bk-spread" },
      h("h3", { id: view.id("python") }, "The same as a cell"),
      h("button", { class: "bk-button", type: "button", onclick: copy }, copied ? "Copied" : "Copy")),
    view.local.selectWanted ? h("p", { class: "bk-muted" }, "The browser does not allow copying here: select the text and copy it.") : null,
    h("pre", { class: "bk-code", tabindex: 0, "aria-labelledby": view.id("python") }, python));
}
