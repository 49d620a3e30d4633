// What opens on a card: the limits to be changed, results to be downloaded, rows to be run again.

const RESULT_FORMATS = [["csv", "CSV, for spreadsheets"], ["xlsx", "Excel"], ["jsonl", "JSON Lines"], ["parquet", "Parquet"]];
/** milliseconds after the last key until what follows is asked for */
const OUTLOOK_PAUSE = 250;

/** Show a panel of a card, or hide it; one is open at a time. */
function togglePanel(view, card, kind) {
  const open = isPanelOpen(view, card, kind);
  view.local.panel = open ? null : { card: card.id, kind, fresh: true };
  if (!open && kind === "limits") beginLimits(view, card);
  if (!open && kind === "download") Object.assign(view.local.panel, { format: "csv", merged: card.lineage.batches > 1 });
  view.redraw();
}

const isPanelOpen = (view, card, kind) => view.local.panel?.card === card.id && view.local.panel.kind === kind;

function closePanel(view) {
  view.local.panel = null;
  view.redraw();
}

function panelOf(view, card) {
  if (isPanelOpen(view, card, "limits") && card.commands.includes("limit")) return limitsForm(view, card);
  return isPanelOpen(view, card, "download") ? downloadForm(view, card) : null;
}

// Limits

function beginLimits(view, card) {
  Object.assign(view.local.panel, { texts: { ...card.limits }, bad: new Set(), outlook: null });
}

/** The fields as they are sent; what is no number has no value in the browser, and is not the same as nothing. */
const limitTexts = ({ texts, bad }) => Object.fromEntries(Object.entries(texts).map(([key, text]) => [key, bad.has(key) ? "?" : text]));

/** Whether what follows is known of what is typed now. */
const isKnown = (panel) => panel.outlook != null && panel.known === JSON.stringify(limitTexts(panel));

const isWrong = (outlook) => Object.keys(outlook.problems).length > 0 || Boolean(outlook.failure);

/** Have it asked what follows, of the batch as it is now: one question at a time, and none while somebody types. */
function followLimits(view, card, panel) {
  const texts = limitTexts(panel);
  const about = JSON.stringify([texts, card.version]);
  if (panel.asking || panel.timer || panel.about === about) return;
  Object.assign(panel, { asking: true, about });
  const arrived = (outlook) => {
    Object.assign(panel, { asking: false, outlook, known: JSON.stringify(texts) });
    if (panel.wanted && isKnown(panel)) changeLimits(view, card, panel);
    view.redraw();
  };
  view.ask("limits_outlook", { batch: card.id, ...texts }, [], { quiet: true, seconds: 60 }).then(
    arrived, (error) => arrived({ problems: {}, failure: error.message }));
}

/** Change them as was wanted, unless something is wrong or the same: that is told already. */
function changeLimits(view, card, panel) {
  panel.wanted = false;
  // Closed: the second click of a double click, before the next drawing.
  if (view.local.panel !== panel || isWrong(panel.outlook) || !panel.outlook.changed) return;
  view.ask("change_limits", { batch: card.id, ...limitTexts(panel) });
  closePanel(view);
}

function limitsForm(view, card) {
  const { panel } = view.local;
  const { outlook } = panel;
  followLimits(view, card, panel);
  const typed = (key) => (event) => {
    panel.texts[key] = event.target.value;
    panel.bad[event.target.validity.badInput ? "add" : "delete"](key);
    panel.wanted = false;
    clearTimeout(panel.timer);
    panel.timer = setTimeout(() => {
      panel.timer = 0;
      followLimits(view, card, panel);
    }, OUTLOOK_PAUSE);
  };
  const field = (key, label, hint, more) => fieldOf(view, `panel-${key}`, label, outlook?.problems[key], hint, (props) => h("input", {
    ...props, type: "number", inputmode: "decimal", value: panel.texts[key], ...more, oninput: typed(key),
  }));
  const go = (event) => {
    event.preventDefault();
    // Of what was typed just now it is asked first what follows.
    clearTimeout(panel.timer);
    panel.timer = 0;
    panel.wanted = true;
    if (isKnown(panel)) changeLimits(view, card, panel);
    else followLimits(view, card, panel);
  };
  const off = !outlook || (isKnown(panel) && (isWrong(outlook) || !outlook.changed));
  return h("form", { key: "limits", class: "bk-card-panel", "aria-label": `Limits of ${card.name}`, novalidate: true, onsubmit: go },
    h("div", { class: "bk-panel-fields" },
      field("max_concurrent", "Max Concurrent", "executions triggered per batch interval", { min: 1, step: 1, ref: focusFresh(panel) }),
      field("batch_interval", "Batch Interval", "seconds between two groups", { min: 0, step: "any" }),
      field("max_in_flight", "Max In Flight", "unfinished at a time; empty: any number", { min: 1, step: 1 })),
    h("div", { role: "status" }, outlookLines(outlook).map((line, index) => h("p", { key: index }, line))),
    h("div", { class: "bk-buttons" },
      h("button", { class: "bk-button bk-primary", type: "submit", "aria-disabled": off ? "true" : "false" }, "Change limits"),
      h("button", { class: "bk-button", type: "button", onclick: () => closePanel(view) }, "Back")));
}

const focusFresh = (panel) => (element) => queueMicrotask(() => panel.fresh && element.focus());

/** What follows from the limits as they are typed. */
function outlookLines(outlook) {
  if (!outlook) return ["…"];
  if (outlook.failure) return [outlook.failure];
  if (isWrong(outlook)) return ["Correct what is marked to see what follows."];
  const lines = [outlook.changed ? paceLine(outlook) : `As it is now: ${paceLine(outlook)}`];
  if (outlook.moves) lines.push("Pending rows get new times; a time set by hand that lies ahead stays.");
  const { most_in_flight: most, in_flight: open } = outlook;
  if (most != null && open > most) lines.push(`${number(open)} are in flight now: nothing more is triggered until fewer than ${number(most)} are.`);
  return lines;
}

function paceLine({ left, groups, seconds, at, at_once: now, runs, hours, most_at_once: most }) {
  if (!left) return "No row is pending.";
  const kept = hours ? ", working hours included" : "";
  if (seconds == null) {
    const outside = hours ? " Nothing is sent outside the working hours." : "";
    return `${counted(left, "pending row")}, at most ${number(most)} unanswered at a time; how long it takes is up to the platform.${outside}`;
  }
  const begin = `${counted(left, "pending row")} in ${counted(groups, "group")}`;
  if (runs) return `${begin}; the last one starts ${now ? "at once" : `about ${shortTime(at)}${kept}`}.`;
  if (hours) return `${begin}; resumed now, the last one starts about ${shortTime(at)}${kept}.`;
  return `${begin}; the last one starts ${seconds ? `${duration(seconds)} after the batch is resumed` : "once the batch is resumed"}.`;
}

// Results

function downloadForm(view, card) {
  const { panel } = view.local;
  const { batches } = card.lineage;
  const busy = Boolean(view.snapshot.jobs[card.id]);
  const choose = (change) => {
    Object.assign(panel, change);
    view.redraw();
  };
  const go = (event) => {
    event.preventDefault();
    if (busy || view.local.panel !== panel) return;
    view.ask("download", { batch: card.id, place: view.id("place"), format: panel.format, merged: batches > 1 && panel.merged });
    closePanel(view);
  };
  return h("form", { key: "download", class: "bk-card-panel", "aria-label": `Results of ${card.name}`, onsubmit: go },
    h("div", { class: "bk-panel-fields" },
      fieldOf(view, "panel-format", "Format", "", "a row for each row of the file, with what became of it", (props) => h("select", {
        ...props, value: panel.format, onchange: (event) => choose({ format: event.target.value }), ref: focusFresh(panel),
      }, RESULT_FORMATS.map(([value, label]) => h("option", { key: value, value }, label)))),
      batches > 1 ? fieldOf(view, "panel-merged", "Rows", "", "merged: each row with its newest outcome, wherever it ran last", (props) => h("select", {
        ...props, value: panel.merged ? "merged" : "own", onchange: (event) => choose({ merged: event.target.value === "merged" }),
      }, h("option", { key: "merged", value: "merged" }, `Merged, of all ${number(batches)} batches`), h("option", { key: "own", value: "own" }, "Of this batch only"))) : null),
    h("div", { class: "bk-buttons" },
      h("button", { class: "bk-button bk-primary", type: "submit", "aria-disabled": busy ? "true" : "false" }, "Download"),
      h("button", { class: "bk-button", type: "button", onclick: () => closePanel(view) }, "Back")));
}

// Run again

/** Ask which rows are to run again, and how many executions that makes. */
function askRerun(view, card) {
  const chosen = new Map();
  const token = `${view.id("again")}-${Date.now()}`;
  let going = false;
  let known = null;
  let failure = "";
  const kinds = () => {
    // What is counted for this question, not for one before or in another tab.
    const found = view.snapshot.again[token];
    if (found?.failure) failure = found.failure;
    else if (found) known = found.kinds;
    return known;
  };
  const isOn = (kind) => chosen.get(kind.key) ?? kind.usual;
  const on = () => (kinds() ?? []).filter(isOn);
  const rows = () => on().reduce((sum, kind) => sum + kind.count, 0);
  const choose = (kind, event) => {
    chosen.set(kind.key, event.target.checked);
    view.redraw();
  };
  view.ask("count_again", { batch: card.id, token }, [], { quiet: true }).catch((error) => {
    failure = error.message;
    view.redraw();
  });
  view.confirm({
    title: `Run rows of ${card.name} again?`,
    text: () => {
      if (!kinds()) return [failure ? h("p", { key: "failure", class: "bk-error-text", role: "alert" }, failure) : "Counting the rows…"];
      if (!kinds().length) return ["There is nothing to run again: other batches ran all of these rows again already, or still do."];
      const sum = rows();
      return [
        h("fieldset", { key: "kinds", class: "bk-kinds" }, h("legend", null, "Rows to run again"), kinds().map((kind) => kindOf(view, kind, isOn(kind), choose))),
        h("p", { key: "sum", role: "status" }, sum
          ? `${counted(sum, "execution")} will be triggered from now on: ${card.agent}, on ${card.target}, ${paceOf(card)}. The other rows are left alone.${card.hours ? ` Nothing is sent outside the working hours: ${card.hours}.` : ""}`
          : "Choose at least one kind of rows."),
      ];
    },
    action: () => (rows() ? `Run ${counted(rows(), "row")} again` : "Run again"),
    off: () => going || !rows(),
    go: () => {
      going = true;
      view.local.awaited = token;
      view.ask("run_again", { batch: card.id, kinds: on().map((kind) => kind.key), rows: rows(), token });
    },
  });
}

function kindOf(view, kind, checked, choose) {
  const id = view.id(`kind-${kind.key}`);
  return h("div", { key: kind.key, class: "bk-kind" },
    h("input", { id, type: "checkbox", checked, "aria-describedby": kind.hint ? `${id}-hint` : null, onchange: (event) => choose(kind, event) }),
    h("label", { for: id }, `${kind.label} (${number(kind.count)})`),
    kind.hint ? h("span", { id: `${id}-hint`, class: "bk-muted bk-hint" }, kind.hint) : null);
}

// From card to card

/** Have other batches listed; what was typed just now goes along. */
function listBatches(view, chosen) {
  const { typing } = view.local;
  clearTimeout(typing?.timer);
  view.local.typing = null;
  view.intend("list", { ...(typing ? { text: typing.text } : {}), ...chosen });
}

/** Bring the batch of that id into sight; one that the filter hides is looked for. */
function showCard(view, id) {
  view.local.wanted = id;
  if (!view.snapshot.cards?.some((card) => card.id === id)) listBatches(view, { agent: "", status: "", text: id, archived: null });
  view.redraw();
}

/** Go to the card that is wanted once it is there, such as that of a batch just made. */
function followCards(view) {
  const { awaited } = view.local;
  const made = awaited && Object.values(view.snapshot.notes).find((note) => note.token === awaited)?.leads_to;
  if (made) {
    view.local.awaited = null;
    showCard(view, made);
  }
  const { wanted } = view.local;
  if (!wanted || !view.snapshot.cards.some((card) => card.id === wanted)) return;
  view.local.wanted = null;
  // After it is drawn.
  queueMicrotask(() => {
    const title = view.el.querySelector(`#${view.id(`card-${wanted}`)}`);
    if (!title) return;
    title.tabIndex = -1;
    title.focus({ preventScroll: true });
    title.closest(".bk-card").scrollIntoView({ block: "nearest" });
  });
}
