function partsContent(view) {
  const { bar, broken, files, name, order, payload, version } = view.snapshot;
  const button = (text, onclick, more = "") => h("button", { key: text, class: `bk-button ${more}`, type: "button", onclick }, text);
  const selection = tableSelection(view, "rows");
  return [
    h("h2", { title: payload }, payload),
    h("div", { class: "bk-buttons" },
      ["turn", "tick", "refuse", "slip", "grow", "mend"].map((each) => button(each, () => view.intend(each))),
      button("ask", async () => {
        view.local.answer = (await view.ask("name", { name: view.local.typed ?? "" })).length;
        view.redraw();
      }, "bk-primary"),
      button("confirm", () => view.confirm({ title: payload, text: ["This cannot be undone.", payload], action: "Go on", danger: true, go: () => view.intend("turn") }), "bk-danger")),
    h("p", null, `Answer: ${view.local.answer ?? "none"}`),
    h("ul", null, order.map((each) => h("li", { key: each }, h("label", null, `Field ${each} `, h("input", null))))),
    h("div", { class: "bk-field" },
      h("label", { for: view.id("name") }, "Name"),
      h("input", { id: view.id("name"), value: name, oninput: (event) => (view.local.typed = event.target.value) })),
    h("div", { class: "bk-bar", role: "progressbar", "aria-label": "Progress", "aria-valuenow": Math.round(bar * 100), "aria-valuemin": 0, "aria-valuemax": 100 },
      h("span", { style: `width:${bar * 100}%` })),
    h("p", null, h("a", { href: "javascript:alert(5)" }, "A bad link"), " ", h("a", { href: "https://example.org/run/1" }, "A good link"), " ",
      h("svg", { width: 60, height: 20, role: "img", "aria-label": "A picture" }, h("rect", { width: 50, height: 18, fill: "currentColor" }))),
    dropZone(view),
    h("ol", { class: "parts-files" }, files.map((file, index) => h("li", { key: index }, `${file.name} ${file.size} ${file.digest}`))),
    h("p", { class: "parts-selection" }, JSON.stringify(selection)),
    pagedTable(view, {
      name: "rows", label: "Rows", pageSize: 50, selectable: true, version,
      columns: [
        { key: "row", label: "Row", sortable: true, width: 90 },
        { key: "status", label: "Status", width: 120, draw: (row) => h("span", { class: "bk-chip" }, row.status) },
        { key: "error", label: "Error", width: 220 },
        { key: "version", label: "Version", width: 90 },
      ],
      filters: [
        { key: "status", label: "Status", options: [["", "All"], ["Pending", "Pending"], ["Triggered", "Triggered"], ["Nothing", "Nothing"]] },
        { key: "text", label: "Search", search: true },
      ],
      rowLabel: (row) => `row ${row.row}`,
      detail: (row) => h("p", null, `Inputs of row ${row.row}: ${payload}`),
      rowActions: (row) => [{ label: "Skip", run: () => view.intend("grow"), disabled: row.row === 1 }],
      empty: "Nothing was scheduled.",
    }),
    broken ? h("p", null, "The store is broken.") : null,
  ];
}

export default { render: ({ model, el }) => show(model, el, partsContent) };
