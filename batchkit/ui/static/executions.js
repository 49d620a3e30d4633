// A batch's scheduled executions: a paged table, what opens below a row, and commands on what is selected.

const ITEM_WORDS = {
  pending: "Pending", triggering: "Being sent", triggered: "Triggered", cancelled: "Cancelled", refused: "Refused", in_doubt: "In doubt",
};
const ITEM_TONES = { triggered: "success", refused: "danger", in_doubt: "warning", triggering: "info" };
const STANDING_TONES = { succeeded: "success", failed: "danger", waiting: "warning", running: "info" };
const ITEM_FILTER = [
  ["", "All"], ...Object.entries(ITEM_WORDS), ["refused,in_doubt", "Refused or in doubt"],
];
const TABLE = "executions";

/** Show or hide the scheduled executions of a batch; those of one are shown at a time. */
function toggleExecutions(view, batch) {
  const open = view.local.open === batch;
  delete view.local[`table:${TABLE}`];
  view.local.open = open ? null : batch;
  view.local.moving = null;
  view.local.items = new Map();
  view.redraw();
}

function executionsOf(view, card) {
  const busy = Boolean(view.snapshot.jobs[card.id]);
  return h("div", { key: "executions", id: view.id(`executions-${card.id}`), class: "bk-executions" },
    executionTools(view, card, busy),
    view.local.moving ? movingForm(view, card, busy) : null,
    pagedTable(view, {
      name: TABLE, label: `Scheduled executions of ${card.name}`, pageSize: 50, sort: "row", selectable: true, version: card.version,
      columns: EXECUTION_COLUMNS, filter: { batch: card.id }, filters: [{ key: "status", label: "Status", options: ITEM_FILTER }],
      rowLabel: (row) => `row ${number(row.row)}`, rowActions: (row) => rowActions(view, card, row, busy), actionsWidth: 200,
      detail: (row) => itemDetails(view, card, row),
      empty: "This batch has no scheduled executions.", emptyFiltered: "No scheduled execution has this status.",
    }));
}

const EXECUTION_COLUMNS = [
  { key: "row", label: "Row", sortable: true, width: 64, draw: (row) => h("span", { class: "bk-cell" }, number(row.row)) },
  { key: "time", label: "Scheduled", sortable: true, width: 165, draw: (row) => timeCell(row) },
  { key: "status", label: "Status", sortable: true, width: 136, draw: (row) => chip(ITEM_WORDS[row.status] ?? row.status, ITEM_TONES[row.status]) },
  { key: "execution_status", label: "Execution", width: 140, draw: (row) => (row.execution_status ? chip(words(row.execution_status), STANDING_TONES[row.standing]) : h("span", null, "–")) },
  { key: "execution", label: "Execution ID", width: 130, draw: (row) => executionLink(row) },
  { key: "error", label: "Error", width: 160, grow: true },
];

/** "awaiting_confirmation" as "Awaiting confirmation" */
const words = (text) => text.charAt(0).toUpperCase() + text.slice(1).replaceAll("_", " ");

const chip = (text, tone) => h("span", { class: `bk-chip${tone ? ` bk-${tone}` : ""}`, title: text }, text);

function timeCell(row) {
  const title = `${exactTime(row.time)}${row.by_hand ? ", set by hand" : ""}`;
  return h("time", { class: "bk-cell", datetime: row.time, title }, `${shortTime(row.time)}${row.by_hand ? " (set)" : ""}`);
}

function executionLink(row) {
  if (!row.execution) return h("span", null, "–");
  if (!row.url) return h("span", { class: "bk-cell", title: row.execution }, row.execution);
  return h("a", { class: "bk-cell", href: row.url, target: "_blank", rel: "noopener noreferrer", title: row.execution, "aria-label": `Open execution ${row.execution} of row ${row.row}` }, row.execution);
}

// Commands

function executionTools(view, card, busy) {
  const { count } = tableSelection(view, TABLE);
  const off = busy || !count;
  const chosen = () => ({ selection: tableSelection(view, TABLE), what: counted(count, "selected scheduled execution") });
  return h("div", { key: "tools", class: "bk-buttons", role: "group", "aria-label": "With those selected" },
    press(view, "Cancel selected…", { off, danger: true, run: () => askCancelItems(view, card, chosen()) }),
    press(view, "Reschedule selected…", { off, run: () => beginMoving(view, card, chosen()) }),
    card.in_doubt ? press(view, "Retry selected in doubt…", { off, run: () => askRetry(view, card, chosen()) }) : null,
    card.in_doubt ? press(view, "Skip selected in doubt…", { off, run: () => askSkip(view, card, chosen()) }) : null);
}

function rowActions(view, card, row, busy) {
  const chosen = { selection: { all: false, keys: [row.key] }, what: `row ${number(row.row)}` };
  if (row.status === "pending") {
    return [
      { label: "Cancel", danger: true, disabled: busy, run: () => askCancelItems(view, card, chosen) },
      { label: "Reschedule", disabled: busy, run: () => beginMoving(view, card, chosen) },
    ];
  }
  if (row.status !== "in_doubt") return [];
  return [
    { label: "Retry", disabled: busy, run: () => askRetry(view, card, chosen) },
    { label: "Skip", disabled: busy, run: () => askSkip(view, card, chosen) },
  ];
}

/** Send a command on items; what became of it comes with the next snapshot. */
function command(view, card, intent, details) {
  view.ask(intent, { batch: card.id, ...details }).then(() => {
    clearTableSelection(view, TABLE);
    refreshTable(view, TABLE);
  });
}

function askCancelItems(view, card, { selection, what }) {
  view.confirm({
    title: `Cancel ${what}?`, action: "Cancel them", danger: true,
    text: ["Those that are pending will never be triggered. This cannot be undone.", "What is triggered already goes on."],
    go: () => command(view, card, "cancel_items", { selection }),
  });
}

function askRetry(view, card, { selection, what }) {
  view.confirm({
    title: `Send ${what} again?`, action: "Send again", danger: true,
    text: ["Nobody knows whether these rows ran: the request left, and no answer came.", "If one of them did run, it runs a second time."],
    go: () => command(view, card, "settle_items", { selection, choice: "retry" }),
  });
}

function askSkip(view, card, { selection, what }) {
  view.confirm({
    title: `Skip ${what}?`, action: "Skip",
    text: ["Those in doubt will not be sent again, whether they ran or not. This cannot be undone."],
    go: () => command(view, card, "settle_items", { selection, choice: "skip" }),
  });
}

function beginMoving(view, card, chosen) {
  const next = new Date(Date.now() + 3600000);
  next.setMinutes(0, 0, 0);
  const local = new Date(next.getTime() - next.getTimezoneOffset() * 60000);
  view.local.moving = { ...chosen, at: local.toISOString().slice(0, 19) };
  view.redraw();
}

/** Where the new time is typed, in the zone of whoever sits here. */
function movingForm(view, card, busy) {
  const { moving } = view.local;
  const id = view.id("moving");
  const end = () => {
    view.local.moving = null;
    view.redraw();
  };
  const go = (event) => {
    event.preventDefault();
    if (busy || !moving.at || Number.isNaN(new Date(moving.at).getTime())) {
      moving.error = "Give a date and a time.";
      view.redraw();
      return;
    }
    command(view, card, "reschedule_items", { selection: moving.selection, at: new Date(moving.at).toISOString() });
    end();
  };
  return h("form", { key: "moving", class: "bk-moving bk-field", onsubmit: go },
    h("label", { for: id }, `New time for ${moving.what} (${userZone()})`),
    h("div", { class: "bk-buttons" },
      h("input", {
        id, type: "datetime-local", step: 1, value: moving.at, "aria-invalid": moving.error ? "true" : "false",
        "aria-describedby": `${id}-hint`, oninput: (event) => Object.assign(moving, { at: event.target.value, error: "" }),
        ref: (element) => queueMicrotask(() => element.focus()),
      }),
      h("button", { class: "bk-button bk-primary", type: "submit" }, "Reschedule"),
      h("button", { class: "bk-button", type: "button", onclick: end }, "Back")),
    h("span", { id: `${id}-hint`, class: moving.error ? "bk-error-text" : "" },
      moving.error || "Each takes the first free slot from then on, so that the pace is kept. A time that has passed means now."));
}

// Below a row

/** What is sent for a row, what came back, and its history: asked for when it is opened, and when the row changes. */
function itemDetails(view, card, row) {
  const items = (view.local.items ??= new Map());
  const state = `${row.status} ${row.execution_status} ${row.time}`;
  const known = items.get(row.key);
  if (known?.state !== state) {
    const next = { state, details: known?.details ?? null, error: "" };
    items.set(row.key, next);
    view.ask("item", { batch: card.id, item: row.key }, [], { quiet: true, seconds: 60 }).then(
      (details) => { next.details = details; view.redraw(); },
      (error) => { next.error = error.message; view.redraw(); });
  }
  const { details, error } = items.get(row.key);
  if (error) return h("p", { class: "bk-error-text", role: "alert" }, error);
  if (!details) return h("p", null, "Loading…");
  const line = details.line == null ? "" : ` (line ${number(details.line)} of the file)`;
  return h("div", { class: "bk-item" },
    pairsOf(`Inputs of row ${number(row.row)}${line}`, details.inputs, "No inputs."),
    details.metadata.length ? pairsOf("Metadata", details.metadata) : null,
    details.profile ? pairsOf("Agent profile", [["Named in the row", details.profile]]) : null,
    details.answer.length ? pairsOf("What came back", details.answer) : null,
    h("section", null, h("h4", null, "History"),
      details.history.length
        ? h("ol", { class: "bk-history" }, details.history.map((entry, index) => h("li", { key: index },
          h("time", { datetime: entry.at, title: exactTime(entry.at) }, shortTime(entry.at)), ` ${entry.who}: ${entry.what}`)))
        : h("p", null, "Nothing happened yet.")));
}

function pairsOf(title, pairs, empty = "") {
  return h("section", null, h("h4", null, title),
    pairs.length
      ? h("dl", { class: "bk-pairs" }, pairs.map(([name, value], index) => [h("dt", { key: `name-${index}` }, name), h("dd", { key: `value-${index}` }, value)]))
      : h("p", null, empty));
}
