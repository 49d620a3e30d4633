// The second step: one line a column.

const KINDS = [["input", "Input Variable"], ["profile", "Agent Profile Name"], ["metadata", "Metadata"], ["not_before", "Not Before Time"], ["skip", "Skip"]];

function mapStep(view) {
  const { map } = view.snapshot;
  if (!map) return [h("p", { key: "none", class: "bk-empty" }, "Upload a file and choose an agent first.")];
  const filter = (view.local.columnFilter ?? "").trim().toLowerCase();
  const only = view.local.columnOnly ?? "all";
  const shown = map.columns.filter((each) => matchesFilter(each, filter, only));
  return [
    requiredOf(view, map),
    map.notes.length ? h("ul", { key: "notes", class: "bk-list bk-muted" }, map.notes.map((note) => h("li", { key: note }, note))) : null,
    mapTools(view, map, shown.length),
    h("div", { key: "columns", class: "bk-columns", role: "table", "aria-label": "Columns of the file" },
      h("div", { key: "head", class: "bk-column bk-column-head", role: "row" },
        ["Column", "Sample values", "Type", "Field"].map((name) => h("span", { key: name, role: "columnheader" }, name))),
      shown.map((each) => columnLine(view, map, each)),
      shown.length ? null : h("div", { key: "none", role: "row" }, h("p", { class: "bk-empty", role: "cell" }, "No column matches the filter."))),
    glimpseOf(view),
  ];
}

function matchesFilter(each, filter, only) {
  if (only === "problems" && !each.problems.length) return false;
  if (only === "mapped" && each.kind === "skip") return false;
  if (only === "skipped" && each.kind !== "skip") return false;
  return !filter || each.column.toLowerCase().includes(filter) || each.name.toLowerCase().includes(filter);
}

/** Which variables are still open: always in sight. */
function requiredOf(view, map) {
  const required = map.variables.filter((each) => each.required);
  const open = required.filter((each) => !each.column);
  const others = map.general.filter((text) => !text.startsWith("The required input variable"));
  const good = !open.length && !others.length;
  return h("section", { key: "required", class: `bk-required ${good ? "bk-good" : "bk-open"}`, role: "status", "aria-label": "Required input variables" },
    h("p", null, h("strong", null, open.length ? `${number(open.length)} of ${counted(required.length, "required input variable")} still open: `
      : required.length ? `All ${counted(required.length, "required input variable")} are mapped. ` : "This agent requires no input variable. "),
    open.map((each) => h("span", { key: each.name, class: "bk-chip bk-danger", title: each.description }, each.name)),
    others.map((text) => h("span", { key: text, class: "bk-error-text" }, ` ${text}`))));
}

function mapTools(view, map, shown) {
  const { local } = view;
  const total = map.columns.length;
  return h("div", { key: "tools", class: "bk-row bk-spread bk-bottom" },
    h("div", { class: "bk-row bk-bottom" },
      h("div", { class: "bk-field" },
        h("label", { for: view.id("column-filter") }, "Find a column"),
        h("input", { id: view.id("column-filter"), type: "search", value: local.columnFilter ?? "", oninput: (event) => { local.columnFilter = event.target.value; view.redraw(); } })),
      h("div", { class: "bk-field" },
        h("label", { for: view.id("column-only") }, "Show"),
        h("select", { id: view.id("column-only"), value: local.columnOnly ?? "all", onchange: (event) => { local.columnOnly = event.target.value; view.redraw(); } },
          [["all", "All columns"], ["problems", "With problems"], ["mapped", "Mapped"], ["skipped", "Skipped"]].map(([value, text]) => h("option", { key: value, value }, text)))),
      h("span", { class: "bk-muted", role: "status" }, shown === total ? counted(total, "column") : `${number(shown)} of ${counted(total, "column")}`)),
    h("div", { class: "bk-buttons" },
      h("button", { class: "bk-button", type: "button", "aria-disabled": map.undo ? "false" : "true", title: map.undo ? `Undo ${map.undo}` : "Nothing to undo", onclick: () => map.undo && view.intend("undo") }, "Undo"),
      h("button", { class: "bk-button", type: "button", "aria-disabled": map.changed ? "false" : "true", onclick: () => map.changed && view.intend("reset_mapping") }, "Reset to suggested"),
      map.restored ? h("button", { class: "bk-button", type: "button", onclick: () => view.confirm({
        title: "Forget the saved mapping?", text: "The mapping saved for this agent and header is deleted, and the columns are mapped by their names.", action: "Forget it", danger: true,
        go: () => view.intend("forget_mapping"),
      }) }, "Forget the saved mapping…") : null));
}

function columnLine(view, map, each) {
  const key = `column-${each.column}`;
  const wrong = each.problems.length > 0;
  const error = view.id(`problem-${each.column}`);
  const set = (kind, name) => view.intend("set_field", { column: each.column, kind, name });
  const described = wrong ? { "aria-invalid": "true", "aria-describedby": error } : {};
  const kinds = KINDS.filter(([kind]) => kind !== "profile" || map.has_profiles || each.kind === "profile");
  return h("div", { key, class: `bk-column${wrong ? " bk-wrong" : ""}${each.kind === "skip" ? " bk-skipped" : ""}`, role: "row" },
    h("div", { class: "bk-column-name", role: "rowheader" }, h("strong", { class: "bk-cut", title: each.column }, each.column),
      each.mark ? h("span", { class: `bk-chip ${each.mark === "Auto-mapped" || each.mark === "Restored" ? "bk-info" : each.mark === "Suggested" ? "bk-warning" : ""}` }, each.mark) : null),
    h("div", { class: "bk-samples", role: "cell" }, each.samples.length
      ? each.samples.map((text, index) => h("span", { key: index, class: "bk-cut bk-sample", title: text }, text)) : h("span", { class: "bk-muted" }, "empty")),
    h("div", { class: "bk-field", role: "cell" },
      h("select", { "aria-label": `Type of ${each.column}`, value: each.kind, ...described, onchange: (event) => set(event.target.value, nameFor(event.target.value, each, map)) },
        kinds.map(([kind, text]) => h("option", { key: kind, value: kind }, text)))),
    h("div", { class: "bk-field", role: "cell" },
      each.kind === "input" ? variableSelect(each, map, described, set) : null,
      each.kind === "metadata" ? h("input", {
        type: "text", "aria-label": `Metadata name of ${each.column}`, placeholder: "Name of the metadata", value: each.name, maxlength: 200, ...described,
        oninput: (event) => typed(view, key, () => set("metadata", event.target.value)),
      }) : null,
      each.kind === "not_before" ? timezoneOf(view, each, map, described) : null,
      each.near ? h("div", { class: "bk-near" }, h("span", null, each.near.reason),
        h("button", { class: "bk-link", type: "button", onclick: () => view.intend("accept_suggestion", { column: each.column }) }, `Map ${each.column} to ${each.near.field}`)) : null,
      wrong ? h("div", { id: error, class: "bk-error-text" }, each.problems.map((text) => h("div", { key: text }, text))) : null));
}

/** In which zone a row's own times are meant. */
function timezoneOf(view, each, map, described) {
  const hint = view.id(`zone-hint-${each.column}`);
  const notes = [hint, described["aria-describedby"]].filter(Boolean).join(" ");
  return [
    zoneInput(view, {
      "aria-label": `Time zone of ${each.column}`, value: map.timezone, ...described, "aria-describedby": notes,
      oninput: (event) => typed(view, "timezone", () => view.intend("set_timezone", { zone: event.target.value })),
    }),
    h("span", { key: "hint", id: hint, class: "bk-muted bk-hint" },
      "A row is not sent before its time, like 2026-03-01T09:00; one without a time goes by its turn. Times without an offset are meant in this zone."),
  ];
}

/** What the field is at first, once its type is chosen. */
function nameFor(kind, each, map) {
  if (kind === "metadata") return each.column;
  if (kind !== "input") return "";
  const free = map.variables.filter((variable) => !variable.column || variable.column === each.column);
  const best = each.near?.field ?? free.find((variable) => variable.required)?.name ?? free[0]?.name;
  return best ?? map.variables[0]?.name ?? "";
}

function variableSelect(each, map, described, set) {
  const known = map.variables.some((variable) => variable.name === each.name);
  const variable = map.variables.find((one) => one.name === each.name);
  return [
    h("select", { key: "variable", "aria-label": `Input Variable of ${each.column}`, value: each.name, ...described, onchange: (event) => set("input", event.target.value) },
      known ? null : h("option", { key: "unknown", value: each.name }, each.name ? `${each.name} (not of this version)` : "Choose an input variable"),
      map.variables.map((one) => h("option", { key: one.name, value: one.name },
        `${one.name}${one.type === "any" ? "" : ` · ${one.type}`}${one.required ? " · required" : ""}${one.column && one.column !== each.column ? ` · has ${one.column}` : ""}`))),
    variable?.description ? h("span", { key: "said", class: "bk-muted bk-hint" }, variable.description) : null,
  ];
}

/** Send what is typed once the typing rests. */
function typed(view, key, send) {
  const timers = (view.local.typing ??= new Map());
  clearTimeout(timers.get(key));
  timers.set(key, setTimeout(send, 250));
}

function glimpseOf(view) {
  const { preview } = view.snapshot;
  if (preview.unmapped || !preview.rows.length) return null;
  const rows = preview.rows.slice(0, 3);
  return h("section", { key: "glimpse", "aria-labelledby": view.id("glimpse") },
    h("h3", { id: view.id("glimpse"), class: "bk-minor" }, `The first ${counted(rows.length, "row")} as they will be sent`),
    previewTable(view, preview.labels, rows, "glimpse"));
}
