// The third step: what will be sent, what is wrong with it, and what becomes of the rows that are not valid.

const MARKS = { valid: ["✓", "Valid", "bk-success"], warning: ["!", "Warning", "bk-warning"], invalid: ["✕", "Invalid", "bk-danger"] };

function previewStep(view) {
  const { preview, working } = view.snapshot;
  if (preview.unmapped) return [h("p", { key: "none", class: "bk-empty" }, "Map the columns first.")];
  const shown = view.local.onlyInvalid && preview.counts?.invalid ? "invalid" : "first";
  return [
    countsOfRows(preview),
    workOf(working.check, "check"),
    preview.failure ? h("div", { key: "failure", class: "bk-notice bk-error", role: "alert" }, h("strong", null, "Error:"), h("span", { class: "bk-notice-text" }, preview.failure)) : null,
    preview.counts?.invalid ? invalidTools(view, preview) : null,
    shown === "first" ? h("section", { key: "first", "aria-labelledby": view.id("preview") },
      h("h3", { id: view.id("preview"), class: "bk-minor" }, `The first ${counted(preview.rows.length, "row")} as ${preview.rows.length === 1 ? "it" : "they"} will be sent`),
      previewTable(view, preview.labels, preview.rows, "preview")) : invalidTable(view, preview),
    downloadState(view),
  ];
}

function countsOfRows({ counts }) {
  if (!counts) return h("p", { key: "counts", class: "bk-facts", role: "status" }, "The rows are being checked.");
  const one = (text, tone) => h("span", { key: text, class: `bk-chip ${tone}` }, text);
  return h("div", { key: "counts", class: "bk-row bk-facts", role: "status" },
    h("strong", null, `${counted(counts.total, "row")}:`),
    one(`${number(counts.valid)} valid`, "bk-success"),
    counts.invalid ? one(`${number(counts.invalid)} invalid`, "bk-danger") : null,
    counts.warnings ? one(`${number(counts.warnings)} valid with a warning`, "bk-warning") : null,
    counts.invalid ? null : h("span", { class: "bk-success-text" }, "Every row can be sent."));
}

function invalidTools(view, preview) {
  const { local, snapshot } = view;
  const { invalid, valid } = preview.counts;
  const them = invalid === 1 ? "it" : "them";
  const radio = (value, text, note) => h("label", { key: value, class: "bk-choice" },
    h("input", { type: "radio", name: view.id("policy"), value, checked: preview.policy === value, onchange: () => view.intend("set_policy", { policy: value }) }),
    h("span", null, h("strong", null, text), h("span", { class: "bk-muted" }, ` ${note}`)));
  return h("section", { key: "tools", class: "bk-panel" },
    h("fieldset", { key: "policy", class: "bk-fieldset" },
      h("legend", null, `What should become of the ${counted(invalid, "invalid row")}?`),
      radio("block", "Block the batch", `until ${invalid === 1 ? "it is" : "they are"} corrected: correct the file and upload it again.`),
      radio("drop", `Leave ${them} out`, `and run the ${counted(valid, "valid row")}. The results list ${them}, too.`)),
    h("div", { key: "buttons", class: "bk-buttons" },
      h("button", { class: "bk-button", type: "button", "aria-pressed": String(Boolean(local.onlyInvalid)), onclick: () => { local.onlyInvalid = !local.onlyInvalid; view.redraw(); } },
        local.onlyInvalid ? "Show the first rows" : "Page through the invalid rows"),
      h("button", { class: "bk-button", type: "button", "aria-disabled": snapshot.working.download ? "true" : "false",
        onclick: () => !snapshot.working.download && view.intend("download_invalid", { place: view.id("place") }) }, "Download the invalid rows with their errors"),
      h("button", { class: "bk-button", type: "button", onclick: () => go(view, "upload") }, "Upload a corrected file")));
}

function invalidTable(view, preview) {
  const columns = [
    { key: "row", label: "Row", width: 70, draw: (row) => rowNumber(row) },
    { key: "issues", label: "What is wrong", width: 320, grow: 1, draw: (row) => reasonsOf(row) },
    ...preview.labels.map((label, index) => ({ key: `c${index}`, label, draw: (row) => cellOf(row.cells[index]) })),
  ];
  return pagedTable(view, {
    name: "invalid", label: "Invalid rows", columns, pageSize: 20, version: preview.round, rowLabel: (row) => `row ${row.row}`, empty: "No row is invalid.",
  });
}

function previewTable(view, labels, rows, name) {
  const anything = rows.some((row) => row.issues.length);
  return h("div", { class: "bk-scroll", tabindex: 0, role: "group", "aria-labelledby": view.id(name) },
    h("table", { class: "bk-table bk-preview" },
      h("thead", null, h("tr", null, h("th", { scope: "col" }, "Row"), h("th", { scope: "col" }, "Status"),
        anything ? h("th", { key: "wrong", scope: "col" }, "What is wrong") : null,
        labels.map((label, index) => h("th", { key: `l${index}`, scope: "col", class: "bk-cut", title: label }, label)))),
      h("tbody", null, rows.map((row) => h("tr", { key: row.row },
        h("th", { scope: "row" }, rowNumber(row)),
        h("td", null, markOf(row)),
        anything ? h("td", { key: "wrong" }, reasonsOf(row)) : null,
        row.cells.map((cell, index) => h("td", { key: `c${index}`, class: `bk-cut${cell.wrong ? " bk-wrong-cell" : ""}`, title: [cell.text, ...cell.issues].filter(Boolean).join("\n") }, cellOf(cell))))))));
}

const rowNumber = (row) => h("span", { title: row.line != null && row.line !== row.row ? `Line ${row.line} of the file` : null }, number(row.row));

function markOf(row) {
  const [sign, word, tone] = MARKS[row.status];
  return h("span", { class: `bk-chip ${tone}`, title: row.issues.join("\n") || null }, h("span", { "aria-hidden": "true" }, `${sign} `), word);
}

function cellOf(cell) {
  if (cell.time) return h("time", { datetime: cell.time, title: `${exactTime(cell.time)}; in the file: ${cell.text}` }, shortTime(cell.time));
  if (cell.sent) return h("span", null, cell.text);
  return h("span", { class: "bk-muted", title: "Not sent: the cell is empty" }, "–", h("span", { class: "bk-sr" }, " not sent"));
}

function reasonsOf(row) {
  if (!row.issues.length) return h("span", { class: "bk-muted" }, "–", h("span", { class: "bk-sr" }, " nothing"));
  return h("ul", { class: "bk-list bk-reasons" }, row.issues.map((text, index) => h("li", { key: index, class: row.status === "invalid" ? "bk-error-text" : "bk-warning-text" }, text)));
}
