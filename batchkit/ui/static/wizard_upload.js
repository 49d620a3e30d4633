// The first step: a file by drop, by its path on the server, or what the notebook gave; and what was found in it.

const ENCODINGS = [["utf-8", "UTF-8"], ["utf-8-sig", "UTF-8 with a mark"], ["cp1252", "Windows-1252 (Western)"], ["iso8859-15", "ISO 8859-15 (Western)"],
  ["cp1250", "Windows-1250 (Central European)"], ["iso8859-2", "ISO 8859-2 (Central European)"], ["cp1251", "Windows-1251 (Cyrillic)"], ["koi8-r", "KOI8-R (Cyrillic)"],
  ["cp1253", "Windows-1253 (Greek)"], ["cp1254", "Windows-1254 (Turkish)"], ["mac-roman", "Mac Roman"], ["utf-16", "UTF-16"], ["shift_jis", "Shift JIS (Japanese)"],
  ["gb18030", "GB 18030 (Chinese)"], ["big5", "Big5 (Chinese)"], ["euc_kr", "EUC-KR (Korean)"]];
const DELIMITERS = [[",", "Comma (,)"], [";", "Semicolon (;)"], ["\t", "Tab"], ["|", "Vertical bar (|)"], [":", "Colon (:)"]];

function uploadStep(view) {
  const { snapshot } = view;
  const { source, table } = snapshot;
  return [
    leftOf(view, snapshot),
    dropZone(view, { accept: ".csv,.tsv,.txt,text/csv,text/plain" }),
    otherSources(view),
    workOf(snapshot.working.read, "reading"),
    snapshot.unreadable ? h("div", { key: "unreadable", class: "bk-notice bk-error", role: "alert" },
      h("strong", null, "Error:"), h("span", { class: "bk-notice-text" }, snapshot.unreadable)) : null,
    source ? h("section", { key: "file", class: "bk-panel", "aria-labelledby": view.id("file-title") },
      h("div", { class: "bk-row bk-spread" },
        h("h3", { id: view.id("file-title"), class: "bk-cut", title: source.path || source.name }, source.name),
        h("button", { class: "bk-button", type: "button", onclick: () => view.intend("remove_file") }, source.kind === "frame" ? "Remove this table" : "Remove this file")),
      table ? factsOf(table) : null,
      source.kind === "frame" ? null : dialectOf(view, source, table),
      table ? problemsOf(view, table) : null,
      table ? firstRows(view, table) : null) : nothingYet(snapshot),
  ];
}

/** What was begun before and not finished: after the page was loaded anew, or the day after. */
function leftOf(view, { left, working, steps }) {
  if (!left.length || working.read) return null;
  return h("section", { key: "left", class: "bk-panel bk-left", "aria-labelledby": view.id("left") },
    h("h3", { id: view.id("left"), class: "bk-minor" }, "Not finished yet"),
    h("ul", null, left.map((one) => h("li", { key: one.id, class: "bk-row" },
      h("div", { class: "bk-left-what" },
        h("strong", { class: "bk-cut", title: one.name }, one.name),
        h("span", { class: "bk-muted bk-hint" }, [counted(one.rows, "row"), one.agent, steps.find((step) => step.key === one.step).label].filter(Boolean).join(" · "), " · ",
          h("time", { datetime: one.at, title: exactTime(one.at) }, relativeTime(one.at)))),
      h("div", { class: "bk-buttons" },
        press(view, "Go on", { key: "on", label: `Go on with ${one.name}, ${relativeTime(one.at)}`, run: () => view.intend("go_on", { id: one.id }) }),
        press(view, "Discard…", { key: "discard", label: `Discard ${one.name}, ${relativeTime(one.at)}`, run: () => view.confirm({
          title: `Discard ${one.name}?`, action: "Discard it", danger: true,
          text: ["What was uploaded, mapped and configured is removed. The file on your own disk stays."],
          go: () => view.intend("discard_draft", { id: one.id }),
        }) }))))));
}

function nothingYet({ working }) {
  if (working.read) return null;
  return h("p", { key: "none", class: "bk-muted" },
    "A CSV with a header row: each row becomes one execution, each column an input variable, the agent profile, metadata, or nothing.");
}

function otherSources(view) {
  const { local, snapshot } = view;
  const read = (event) => {
    event.preventDefault();
    view.intend("read_path", { path: local.path ?? "" });
  };
  return h("form", { key: "other", class: "bk-row bk-other", onsubmit: read },
    h("div", { class: "bk-field bk-grow" },
      h("label", { for: view.id("path") }, "Or the path of a file on the server"),
      h("input", { id: view.id("path"), type: "text", spellcheck: "false", autocomplete: "off", value: local.path ?? "", oninput: (event) => (local.path = event.target.value) })),
    h("button", { class: "bk-button", type: "submit" }, "Read this file"),
    snapshot.demo ? h("button", { class: "bk-button", type: "button", onclick: () => view.intend("sample") }, "Use the sample file") : null);
}

function factsOf(table) {
  return h("p", { key: "facts", class: "bk-facts", role: "status" },
    h("strong", null, counted(table.rows, "row")), " · ", h("strong", null, counted(table.columns, "column")),
    table.problems.length ? null : h("span", { class: "bk-success-text" }, " · no problems found"));
}

function dialectOf(view, source, table) {
  const choose = (name) => (event) => view.intend("read_again", { [name]: event.target.value });
  const select = (name, label, options, found, guessed) => {
    const known = options.some(([value]) => value === found) || !found ? options : [[found, found], ...options];
    const chosen = source[name] ?? "";
    const label0 = found ? `Found out: ${(known.find(([value]) => value === found) ?? [])[1] ?? found}${guessed && !chosen ? ", a guess" : ""}` : "Find out";
    return h("div", { key: name, class: "bk-field" },
      h("label", { for: view.id(name) }, label),
      h("select", { id: view.id(name), value: chosen, onchange: choose(name) },
        h("option", { key: "", value: "" }, chosen ? "Find out" : label0),
        known.map(([value, text]) => h("option", { key: value, value }, text))));
  };
  return h("div", { key: "dialect", class: "bk-row bk-top" },
    select("encoding", "Encoding", ENCODINGS, table?.encoding, table?.encoding_guessed),
    select("delimiter", "Delimiter", DELIMITERS, table?.delimiter, table?.delimiter_guessed));
}

function problemsOf(view, table) {
  if (!table.problems.length) return null;
  const title = table.errors ? `${counted(table.errors, "problem")} must be corrected before a batch can be made` : "Worth a look";
  return h("section", { key: "problems", class: `bk-notice bk-block ${table.errors ? "bk-error" : "bk-warning"}`, "aria-labelledby": view.id("problems") },
    h("h4", { id: view.id("problems") }, title),
    h("ul", { class: "bk-list bk-tall", tabindex: 0, "aria-labelledby": view.id("problems") }, table.problems.map((problem, index) => h("li", { key: index },
      h("strong", null, `${problem.severity === "error" ? "Error" : "Warning"}${problem.line == null ? "" : `, line ${number(problem.line)}`}: `), problem.message)),
    table.more_problems ? h("li", { key: "more" }, `and ${number(table.more_problems)} more`) : null),
    table.errors ? h("p", null, "Correct the file and drop it above again; it takes the place of this one. What you have mapped stays.") : null);
}

function firstRows(view, table) {
  if (!table.first.length) return null;
  const more = table.columns - table.header.length;
  return h("section", { key: "first", "aria-labelledby": view.id("first") },
    h("h4", { id: view.id("first") }, table.first.length === table.rows ? `All ${counted(table.rows, "row")}` : `The first ${counted(table.first.length, "row")}`,
      more > 0 ? ` (the first ${number(table.header.length)} columns)` : ""),
    h("div", { class: "bk-scroll", tabindex: 0, role: "group", "aria-labelledby": view.id("first") },
      h("table", { class: "bk-table" },
        h("thead", null, h("tr", null, table.header.map((name) => h("th", { key: name, scope: "col", class: "bk-cut", title: name }, name)))),
        h("tbody", null, table.first.map((cells, row) => h("tr", { key: row },
          cells.map((text, column) => h("td", { key: column, class: "bk-cut", title: text }, text))))))));
}

/** What is under way: words and a bar. */
function workOf(work, key) {
  if (!work) return null;
  const percent = work.share == null ? null : Math.round(100 * work.share);
  const text = percent == null ? `${work.words}…` : `${work.words}: ${percent} %`;
  return h("div", { key: `work-${key}`, class: "bk-job" },
    h("div", {
      class: `bk-bar${percent == null ? " bk-unknown" : ""}`, role: "progressbar", "aria-label": work.words, "aria-valuetext": text,
      "aria-valuemin": 0, "aria-valuemax": 100, "aria-valuenow": percent,
    }, h("span", { style: `width:${percent ?? 100}%` })),
    h("span", null, text));
}
