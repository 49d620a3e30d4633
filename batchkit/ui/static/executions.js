// A batch's scheduled executions: a paged table, what opens below a row, and commands on what is selected.

const ITEM_WORDS = {
  pending: "Pending", triggering: "Being sent", triggered: "Triggered", cancelled: "Cancelled", refused: "Refused", in_doubt: "In doubt",
};
const ITEM_TONES = { triggered: "success", refused: "danger", in_doubt: "warning", triggering: "info" };
const STANDING_TONES = { succeeded: "success", failed: "danger", waiting: "warning", running: "info" };
const ITEM_FILTER = [
  ["", "All"], ...Object.entries(ITEM_WORDS), ["refused,in_doubt", "Refused or in doubt"],
];
const EXECUTION_FILTER = [
  ["", "All"], ["running", "Running"], ["waiting", "Needs a person"], ["succeeded", "Succeeded"], ["failed", "Failed"], ["cancelled", "Cancelled"], ["timed_out", "Timed out"],
];
const TABLE = "executions";

/** Show or hide the scheduled executions of a batch; those of one are shown at a time. */
function toggleExecutions(view, batch) {
  openExecutions(view, view.local.open === batch ? null : batch, {});
}

/** Show those of a batch that a filter leaves. */
function showExecutions(view, batch, filter) {
  openExecutions(view, batch, filter);
  view.local.turnTo = batch;
}

function openExecutions(view, batch, filter) {
  delete view.local[`table:${TABLE}`];
  view.local.open = batch;
  view.local.filterAtFirst = filter;
  view.local.moving = null;
  view.local.items = new Map();
  view.redraw();
}

function executionsOf(view, card) {
  const busy = Boolean(view.snapshot.jobs[card.id]);
  // Only what is pending or in doubt can be changed, and neither has an execution.
  const canChange = Boolean(card.pending || card.in_doubt);
  const hasActions = canChange && !view.local[`table:${TABLE}`]?.filter.execution;
  // After it is drawn.
  if (view.local.turnTo === card.id) queueMicrotask(() => turnTo(view, card));
  return h("div", {
    key: "executions", id: view.id(`executions-${card.id}`), class: "bk-executions", tabindex: -1, role: "group", "aria-label": `Scheduled Executions of ${card.name}`,
  },
    canChange ? executionTools(view, card, busy) : null,
    view.local.moving ? movingForm(view, card, busy) : null,
    pagedTable(view, {
      name: TABLE, label: `Scheduled executions of ${card.name}`, pageSize: 50, sort: "row", selectable: canChange, version: card.version,
      columns: EXECUTION_COLUMNS, filter: { batch: card.id }, filters: executionFilters(card), filterAtFirst: view.local.filterAtFirst,
      rowLabel: (row) => `row ${number(row.row)}`, rowActions: hasActions ? (row) => rowActions(view, card, row, busy) : null, actionsWidth: 190,
      detail: (row) => itemDetails(view, card, row),
      empty: "This batch has no scheduled executions.", emptyFiltered: "No scheduled execution matches the filter.",
    }));
}

/** After a count was pressed: where the rows it counts are. */
function turnTo(view, card) {
  view.local.turnTo = null;
  const element = view.el.querySelector(`#${view.id(`executions-${card.id}`)}`);
  element?.focus({ preventScroll: true });
  element?.scrollIntoView({ block: "nearest" });
}

function executionFilters(card) {
  return [
    { key: "status", label: "Status", options: ITEM_FILTER },
    { key: "execution", label: "Execution", options: EXECUTION_FILTER },
    ...(card.searchable ? [{ key: "text", label: "Search", search: true, placeholder: "Input, error or ID" }] : []),
  ];
}

const EXECUTION_COLUMNS = [
  { key: "row", label: "Row", sortable: true, width: 64, draw: (row) => h("span", { class: "bk-cell" }, number(row.row)) },
  { key: "time", label: "Scheduled", sortable: true, width: 118, draw: (row) => timeCell(row) },
  { key: "status", label: "Status", sortable: true, width: 118, draw: (row) => chip(ITEM_WORDS[row.status] ?? row.status, ITEM_TONES[row.status]) },
  { key: "execution", label: "Execution", width: 156, draw: (row) => executionCell(row) },
  { key: "error", label: "Error or reason", width: 178, grow: true, lines: true, text: (row) => reasonOf(row) },
];

/** "awaiting_confirmation" as "Awaiting confirmation" */
const words = (text) => text.charAt(0).toUpperCase() + text.slice(1).replaceAll("_", " ");

const chip = (text, tone, title = text) => h("span", { class: `bk-chip${tone ? ` bk-${tone}` : ""}`, title }, text);

function timeCell(row) {
  const title = `${exactTime(row.time)}${row.by_hand ? ", set by hand" : ""}`;
  return h("time", { class: "bk-cell bk-cell-wrapped", datetime: row.time, title }, `${shortTime(row.time)}${row.by_hand ? " (set)" : ""}`);
}

/** What the execution does, and its id below, which leads to the platform's own page where it has one. */
function executionCell(row) {
  if (!row.execution) return h("span", null, "–");
  const status = `${words(row.execution_status)}${row.standing === "failed" && row.execution_status === "completed" ? ", failed" : ""}`;
  return [
    h("div", { key: "status" }, row.standing === "waiting" ? chip("Needs a person", "warning", status) : chip(status, STANDING_TONES[row.standing])),
    row.timed_out ? h("div", { key: "late", class: "bk-small-text" }, "Timed out") : null,
    h("div", { key: "id", class: "bk-small-text" }, executionLink(row)),
  ];
}

/** What it waits for, and what went wrong with it, as one text. */
function reasonOf(row) {
  const { waits, error } = row;
  const parts = [waitingText(waits), error && !waits?.before.includes(error) ? error : ""];
  return parts.filter(Boolean).join(" ") || "–";
}

const waitingText = (waits) => (waits ? `${waits.before}${waits.at ? ` ${shortTime(waits.at)}` : ""}${waits.after}` : "");

function executionLink(row) {
  if (!row.url) return h("span", { class: "bk-cell", title: row.execution }, row.execution);
  return h("a", { class: "bk-cell", href: row.url, target: "_blank", rel: "noopener noreferrer", title: row.execution, "aria-label": `Open execution ${row.execution} of row ${row.row}` }, row.execution);
}

// Commands

function executionTools(view, card, busy) {
  const { count } = tableSelection(view, TABLE);
  const off = busy || !count;
  const chosen = () => ({ selection: tableSelection(view, TABLE), one: count === 1, what: counted(count, "selected scheduled execution") });
  return h("div", { key: "tools", class: "bk-buttons", role: "group", "aria-label": "With those selected" },
    press(view, "Cancel selected…", { off, danger: true, run: () => askCancelItems(view, card, chosen()) }),
    press(view, "Reschedule selected…", { off, run: () => beginMoving(view, card, chosen()) }),
    card.in_doubt ? press(view, "Retry selected in doubt…", { off, run: () => askRetry(view, card, chosen()) }) : null,
    card.in_doubt ? press(view, "Skip selected in doubt…", { off, run: () => askSkip(view, card, chosen()) }) : null);
}

function rowActions(view, card, row, busy) {
  const chosen = { selection: { all: false, keys: [row.key] }, one: true, what: `row ${number(row.row)}` };
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
  const done = () => {
    clearTableSelection(view, TABLE);
    refreshTable(view, TABLE);
  };
  // What failed is told in the page.
  view.ask(intent, { batch: card.id, ...details }).then(done, () => {});
}

function askCancelItems(view, card, { selection, what, one }) {
  view.confirm({
    title: `Cancel ${what}?`, action: one ? "Cancel it" : "Cancel them", danger: true,
    text: [`${one ? "If it is pending, it" : "Those that are pending"} will never be triggered. This cannot be undone.`, "What is triggered already goes on."],
    go: () => command(view, card, "cancel_items", { selection }),
  });
}

function askRetry(view, card, { selection, what, one }) {
  view.confirm({
    title: `Send ${what} again?`, action: one ? "Send it again" : "Send them again", danger: true,
    text: [`Nobody knows whether ${one ? "it" : "these rows"} ran: the request left, and no answer came.`, `If ${one ? "it" : "one of them"} did run, it runs a second time.`],
    go: () => command(view, card, "settle_items", { selection, choice: "retry" }),
  });
}

function askSkip(view, card, { selection, what, one }) {
  view.confirm({
    title: `Skip ${what}?`, action: one ? "Skip it" : "Skip them",
    text: [`${one ? "It will not be sent again, whether it" : "Those in doubt will not be sent again, whether they"} ran or not. This cannot be undone.`],
    go: () => command(view, card, "settle_items", { selection, choice: "skip" }),
  });
}

function beginMoving(view, card, chosen) {
  view.local.moving = { ...chosen, at: localInput(nextHour()) };
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
    // The second click of a double click: the form is there until the next drawing.
    if (view.local.moving !== moving) return;
    const missing = !moving.at || Number.isNaN(new Date(moving.at).getTime());
    if (busy || missing) {
      moving.error = missing ? "Give a date and a time." : "Something else is still under way with this batch. Try again once that is done.";
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
  const state = `${row.status} ${row.execution_status} ${row.time} ${waitingText(row.waits)}`;
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
    details.waits ? h("section", null, h("h4", null, "Why it waits"), h("p", null, waitingText(details.waits))) : null,
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
