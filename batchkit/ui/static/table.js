// A table of which only the page in sight is in the browser. Needs ui/table.py on the other side.

/** milliseconds between two refreshes of a table that changes */
const TABLE_PAUSE = 500;
/** milliseconds after the last key until a search is made */
const SEARCH_PAUSE = 300;
const COLUMN_WIDTH = 140;

/** A paged table. Its rows are objects with a `key` and a value for each column's key.
 *  name: of the table in Python. label: what it holds, for those who cannot see it.
 *  columns: [{ key, label, sortable?, width? (pixels at the least), grow?, draw?(row), text?(row), lines? }]; without
 *  draw, the text or else the value as text, on one line or, with `lines`, on two; what is longer can be opened.
 *  pageSize; sort and descending: the order at first; selectable: with checkboxes; version: asks again when it differs.
 *  filters: [{ key, label, options: [[value, label], …] }] or [{ key, label, search: true, placeholder? }]; filter: further
 *  fixed values; filterAtFirst: values of the filters that are set at first.
 *  rowLabel(row): names a row in labels. rowActions(row): [{ label, run, danger?, disabled? }].
 *  detail(row): what opens below a row. empty, emptyFiltered: what is said when there is no row. */
function pagedTable(view, options) {
  const table = tableState(view, options);
  table.options = options;
  tableAsk(view, table);
  const { page, error } = table;
  const labelled = view.id(`table-${options.name}`);
  return h("section", { key: `table-${options.name}`, class: "bk-paged", "aria-labelledby": labelled },
    h("span", { id: labelled, class: "bk-sr" }, options.label),
    tableTools(view, table),
    error ? tableError(view, table) : null,
    h("div", {
      key: "box", class: "bk-scroll bk-paged-box", tabindex: 0, role: "group", "aria-labelledby": labelled,
      style: page && page.total > tableSize(table) && table.height ? `min-height:${table.height}px` : "",
      ref: (element) => (table.box = element),
    },
      h("table", { class: `bk-table bk-paged-table${table.turning ? " bk-turning" : ""}`, "aria-labelledby": labelled, "aria-busy": table.turning ? "true" : "false",
        style: `min-width:${tableWidth(options)}px` },
        tableWidths(options), tableHead(view, table), h("tbody", null, page ? page.rows.map((row, index) => tableRow(view, table, row, index)) : null)),
      tableNothing(view, table)),
    tablePager(view, table),
    h("div", { key: "said", class: "bk-sr", role: "status" }, table.said));
}

/** What is selected: { all, keys, except, filter, count }. With `all`, everything the filter leaves but `except`. */
function tableSelection(view, name) {
  const table = view.local[`table:${name}`];
  if (!table) return { all: false, keys: [], except: [], filter: {}, count: 0 };
  const { all, keys, except } = table.selection;
  return { all, keys: [...keys], except: [...except], filter: tableFilter(table), count: tableCount(table) };
}

function clearTableSelection(view, name) {
  const table = view.local[`table:${name}`];
  if (table) tableSelect(view, table, { all: false, keys: new Set(), except: new Set() });
}

/** Ask for the page again, as after a change the user has just made. */
function refreshTable(view, name) {
  const table = view.local[`table:${name}`];
  if (table) table.wanted = null;
  view.redraw();
}

function tableState(view, options) {
  const name = `table:${options.name}`;
  view.local[name] ??= {
    name: options.name, offset: 0, sort: options.sort ?? null, descending: Boolean(options.descending), filter: { ...options.filterAtFirst },
    page: null, error: "", wanted: null, version: undefined, number: 0, asking: 0, askedAt: 0, took: 0, turning: false, said: "", height: 0,
    selection: { all: false, keys: new Set(), except: new Set() }, open: new Set(), whole: new Set(), last: null,
  };
  return view.local[name];
}

const tableSize = (table) => table.options.pageSize ?? 50;
const tableFilter = (table) => ({ ...table.options?.filter, ...Object.fromEntries(Object.entries(table.filter).filter(([, value]) => value !== "")) });
const tableCount = (table) => (table.selection.all ? Math.max((table.page?.total ?? 0) - table.selection.except.size, 0) : table.selection.keys.size);
const tableHas = (table, key) => (table.selection.all ? !table.selection.except.has(key) : table.selection.keys.has(key));
const tableName = (table, row) => table.options.rowLabel?.(row) ?? `row ${row.key}`;
const tableColumns = (options) => options.columns.length + (options.selectable ? 1 : 0) + (options.detail ? 1 : 0) + (options.rowActions ? 1 : 0);

/** Ask for the page that should be in sight, unless it is or is on its way. */
function tableAsk(view, table) {
  const size = tableSize(table);
  const request = { table: table.name, offset: table.offset, limit: size, sort: table.sort, descending: table.descending, filter: tableFilter(table) };
  const wanted = JSON.stringify(request);
  const turned = wanted !== table.wanted;
  if (!turned) {
    if (table.options.version === table.version || table.error) return;
    // What takes long to find is asked for less often.
    const wait = table.askedAt + Math.max(TABLE_PAUSE, 5 * table.took) - Date.now();
    if (table.asking || wait > 0) {
      clearTimeout(table.timer);
      table.timer = setTimeout(view.redraw, Math.max(wait, 50));
      return;
    }
  }
  const filtered = JSON.stringify(request.filter);
  if (table.filtered !== undefined && table.filtered !== filtered) table.selection = { all: false, keys: new Set(), except: new Set() };
  table.filtered = filtered;
  table.wanted = wanted;
  table.version = table.options.version;
  table.askedAt = Date.now();
  table.turning ||= turned;
  table.error = "";
  table.number += 1;
  const number = table.number;
  table.asking = number;
  view.ask("table_page", request, [], { quiet: true, seconds: 60 }).then(
    (page) => number === table.number && tableArrived(view, table, page, turned),
    (error) => number === table.number && tableFailed(view, table, error),
  );
}

function tableArrived(view, table, page, turned) {
  // Short pages are given the height of full ones, so that the pager stays under the pointer.
  if (table.box && table.page?.rows.length === tableSize(table) && !table.whole.size && !table.open.size) table.height = table.box.offsetHeight;
  const stay = turned && table.page && page.offset !== table.page.offset;
  table.page = page;
  table.took = Date.now() - table.askedAt;
  table.asking = 0;
  table.turning = false;
  if (page.offset !== table.offset) {
    table.offset = page.offset;
    table.wanted = JSON.stringify({ ...JSON.parse(table.wanted), offset: page.offset });
  }
  if (turned) {
    table.open.clear();
    table.whole.clear();
    table.last = null;
    table.said = tableRange(table);
    if (stay && table.box) table.box.scrollTop = 0;
  }
  view.redraw();
}

function tableFailed(view, table, error) {
  table.asking = 0;
  table.turning = false;
  table.error = error.message;
  view.redraw();
}

/** Change where the table is or how it is ordered or filtered. */
function tableTurn(view, table, change) {
  Object.assign(table, change);
  // Not only when drawing: every millisecond shows.
  tableAsk(view, table);
  view.redraw();
}

function tableRange(table) {
  const { rows, total, offset } = table.page;
  return rows.length ? `${number(offset + 1)}–${number(offset + rows.length)} of ${number(total)}` : "No rows";
}

// Above the table

function tableTools(view, table) {
  const { filters = [], selectable } = table.options;
  if (!filters.length && !selectable) return null;
  return h("div", { key: "tools", class: "bk-row bk-spread bk-paged-tools" },
    h("div", { class: "bk-row" }, filters.map((filter) => tableFilterField(view, table, filter))),
    selectable ? tableSelected(view, table) : null);
}

function tableFilterField(view, table, filter) {
  const id = view.id(`table-${table.name}-${filter.key}`);
  const turn = (value) => tableTurn(view, table, { filter: { ...table.filter, [filter.key]: value }, offset: 0 });
  const value = table.filter[filter.key] ?? "";
  return h("div", { key: filter.key, class: "bk-row bk-paged-filter" },
    h("label", { for: id }, filter.label),
    filter.search
      ? h("input", {
        id, type: "search", value, autocomplete: "off", placeholder: filter.placeholder, oninput: (event) => {
          const typed = event.target.value;
          clearTimeout(table.searching);
          table.searching = setTimeout(() => turn(typed.trim()), SEARCH_PAUSE);
        },
      })
      : h("select", { id, value, onchange: (event) => turn(event.target.value) },
        filter.options.map(([each, label]) => h("option", { key: each, value: each }, label))));
}

function tableSelected(view, table) {
  const count = tableCount(table);
  const total = table.page?.total ?? 0;
  const everything = count === total;
  return h("div", { class: "bk-row bk-paged-selected" },
    h("span", { role: "status" }, count ? `${number(count)} selected` : "None selected"),
    h("button", {
      key: "all", class: "bk-link", type: "button", hidden: !total || everything,
      onclick: () => tableSelect(view, table, { all: true, keys: new Set(), except: new Set() }),
    }, `Select all ${number(total)}${Object.keys(tableFilter(table)).length ? " matching" : ""}`),
    h("button", {
      key: "none", class: "bk-link", type: "button", hidden: !count,
      onclick: () => tableSelect(view, table, { all: false, keys: new Set(), except: new Set() }),
    }, "Clear selection"));
}

function tableSelect(view, table, selection) {
  table.selection = selection;
  view.redraw();
}

/** Select these keys, or no longer. */
function tableMark(view, table, keys, on) {
  const { all, except } = table.selection;
  const listed = all ? except : table.selection.keys;
  for (const key of keys) {
    if (on !== all) listed.add(key);
    else listed.delete(key);
  }
  view.redraw();
}

function tableError(view, table) {
  return h("div", { key: "error", class: "bk-notice bk-error", role: "alert" },
    h("strong", null, "Error:"),
    h("span", { class: "bk-notice-text" }, table.error),
    h("button", { class: "bk-button", type: "button", onclick: () => tableTurn(view, table, { wanted: null }) }, "Try again"));
}

// The table

const TOGGLE_WIDTH = 36;
const tableWidth = (options) =>
  options.columns.reduce((sum, column) => sum + (column.width ?? COLUMN_WIDTH), 0)
  + (options.selectable ? TOGGLE_WIDTH : 0) + (options.detail ? TOGGLE_WIDTH : 0) + (options.rowActions ? options.actionsWidth ?? COLUMN_WIDTH : 0);

/** The columns that share the room left over: those that say `grow`, or else the widest. */
function tableGrowing(columns) {
  const said = columns.filter((column) => column.grow);
  const most = Math.max(...columns.map((column) => column.width ?? COLUMN_WIDTH));
  return said.length ? said : columns.filter((column) => (column.width ?? COLUMN_WIDTH) === most);
}

function tableWidths(options) {
  const growing = tableGrowing(options.columns);
  const col = (key, width) => h("col", { key, style: width ? `width:${width}px` : "" });
  return h("colgroup", null,
    options.selectable ? col("select", TOGGLE_WIDTH) : null,
    options.detail ? col("detail", TOGGLE_WIDTH) : null,
    options.columns.map((column) => col(`column-${column.key}`, growing.includes(column) ? 0 : column.width ?? COLUMN_WIDTH)),
    options.rowActions ? col("actions", options.actionsWidth ?? COLUMN_WIDTH) : null);
}

function tableHead(view, table) {
  const { columns, selectable, detail, rowActions } = table.options;
  const rows = table.page?.rows ?? [];
  const marked = rows.filter((row) => tableHas(table, row.key)).length;
  return h("thead", null, h("tr", null,
    selectable ? h("th", { key: "select", scope: "col" }, h("label", { class: "bk-check" }, h("input", {
      type: "checkbox", "aria-label": "Select all rows of this page", disabled: !rows.length,
      checked: rows.length > 0 && marked === rows.length, indeterminate: marked > 0 && marked < rows.length,
      onchange: (event) => tableMark(view, table, rows.map((row) => row.key), event.target.checked),
    }))) : null,
    detail ? h("th", { key: "detail", scope: "col" }, h("span", { class: "bk-sr" }, "Details")) : null,
    columns.map((column) => {
      if (!column.sortable) return h("th", { key: `column-${column.key}`, scope: "col" }, column.label);
      const sorted = table.sort === column.key;
      const direction = sorted ? (table.descending ? "descending" : "ascending") : "none";
      return h("th", { key: `column-${column.key}`, scope: "col", "aria-sort": direction },
        h("button", {
          class: "bk-sort", type: "button",
          onclick: () => tableTurn(view, table, { sort: column.key, descending: sorted && !table.descending, offset: 0 }),
        }, h("span", null, column.label), h("span", { class: "bk-sort-mark", "aria-hidden": "true" }, { ascending: "▲", descending: "▼", none: "↕" }[direction])));
    }),
    rowActions ? h("th", { key: "actions", scope: "col", class: "bk-paged-actions" }, "Actions") : null));
}

function tableRow(view, table, row, index) {
  const { columns, selectable, detail, rowActions } = table.options;
  const marked = selectable && tableHas(table, row.key);
  const open = table.open.has(row.key);
  const name = tableName(table, row);
  const inside = view.id(`table-${table.name}-detail-${row.key}`);
  const cells = h("tr", { key: `row-${row.key}`, class: marked ? "bk-marked" : "" },
    selectable ? h("td", { key: "select" }, h("label", { class: "bk-check" }, h("input", {
      type: "checkbox", "aria-label": `Select ${name}`, checked: marked,
      onclick: (event) => tableCheck(view, table, index, event),
    }))) : null,
    detail ? h("td", { key: "detail" }, h("button", {
      class: "bk-icon-button", type: "button", "aria-expanded": String(open), "aria-controls": open ? inside : null,
      "aria-label": `Details of ${name}`, title: open ? "Hide the details" : "Show the details",
      onclick: () => tableToggle(view, table.open, row.key),
    }, open ? "▾" : "▸")) : null,
    columns.map((column) => h("td", { key: `column-${column.key}` }, column.draw ? column.draw(row) : tableText(view, table, row, column))),
    rowActions ? h("td", { key: "actions", class: "bk-paged-actions" }, h("div", { class: "bk-buttons" }, rowActions(row).map((action) => h("button", {
      key: action.label, class: `bk-button bk-small${action.danger ? " bk-danger" : ""}`, type: "button", disabled: Boolean(action.disabled),
      "aria-label": `${action.label} ${name}`, onclick: () => action.run(row),
    }, action.label)))) : null);
  if (!open) return cells;
  return [cells, h("tr", { key: `detail-${row.key}`, class: "bk-paged-detail" },
    h("td", { id: inside, colspan: tableColumns(table.options) }, detail(row)))];
}

/** A checkbox was clicked; with Shift, everything from the one before. */
function tableCheck(view, table, index, event) {
  const { rows } = table.page;
  const from = event.shiftKey && table.last != null ? table.last : index;
  const keys = rows.slice(Math.min(from, index), Math.max(from, index) + 1).map((row) => row.key);
  table.last = index;
  tableMark(view, table, keys, event.target.checked);
}

function tableToggle(view, set, key) {
  if (!set.delete(key)) set.add(key);
  view.redraw();
}

/** A value on one line or two; what does not fit can be opened. */
function tableText(view, table, row, column) {
  return cutText(view, column.text ? column.text(row) : row[column.key], {
    fits: Math.floor(((column.lines ? 2 : 1) * (column.width ?? COLUMN_WIDTH)) / 8), lines: column.lines,
    whole: table.whole, key: `${row.key} ${column.key}`, label: column.label,
  });
}

/** Text cut to one line or, with `lines`, two; the whole is in reach by pointing at it, and by a press. `whole` is a set of what is open. */
function cutText(view, value, { fits, whole, key, label, lines }) {
  const text = value == null ? "" : String(value);
  const shape = lines ? "bk-cell bk-cell-lines" : "bk-cell";
  if (text.length <= fits && !text.includes("\n")) return h("span", { class: shape }, text);
  const open = whole.has(key);
  return h("button", {
    class: `${shape} bk-cell-more${open ? " bk-open" : ""}`, type: "button", title: open ? "Show less" : text, "aria-expanded": String(open),
    "aria-label": `${label}: ${text}`, onclick: () => tableToggle(view, whole, key),
  }, text);
}

function tableNothing(view, table) {
  const { page, error, options } = table;
  if (page?.rows.length) return null;
  if (!page) return h("div", { key: "nothing", class: "bk-paged-nothing" }, error ? "The rows could not be shown." : "Loading…");
  const filtered = Object.values(table.filter).some((value) => value !== "");
  return h("div", { key: "nothing", class: "bk-paged-nothing" },
    h("p", null, filtered ? options.emptyFiltered ?? "No row matches the filter." : options.empty ?? "There are no rows."),
    filtered ? h("button", { class: "bk-button", type: "button", onclick: () => tableTurn(view, table, { filter: {}, offset: 0 }) }, "Clear the filter") : null);
}

// Below the table

function tablePager(view, table) {
  const { page } = table;
  if (!page || !page.total) return null;
  const size = tableSize(table);
  const last = Math.floor((page.total - 1) / size);
  const here = Math.min(Math.floor(table.offset / size), last);
  const go = (to) => tableTurn(view, table, { offset: Math.min(Math.max(to, 0), last) * size });
  // aria-disabled: a button that is disabled while it has the focus would drop it.
  const button = (text, label, to, off) => h("button", {
    key: label, class: "bk-button", type: "button", "aria-label": label, title: label, "aria-disabled": off ? "true" : "false", onclick: () => off || go(to),
  }, text);
  return h("nav", { key: "pager", class: "bk-row bk-spread bk-pager", "aria-label": `Pages of ${table.options.label}` },
    h("span", null, tableRange(table)),
    last === 0 ? null : h("div", { class: "bk-row" },
      button("«", "First page", 0, here === 0),
      button("‹", "Previous page", here - 1, here === 0),
      h("label", { class: "bk-row" }, "Page ", h("input", {
        class: "bk-page-number", type: "text", inputmode: "numeric", autocomplete: "off", value: here + 1,
        "aria-label": `Page, of ${number(last + 1)}`,
        onchange: (event) => {
          const typed = Number.parseInt(event.target.value.replace(/\D/g, ""), 10);
          const to = Number.isNaN(typed) ? here : Math.min(Math.max(typed - 1, 0), last);
          event.target.value = to + 1;
          go(to);
        },
      }), `of ${number(last + 1)}`),
      button("›", "Next page", here + 1, here === last),
      button("»", "Last page", last, here === last)));
}
