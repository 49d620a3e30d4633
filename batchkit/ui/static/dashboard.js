// The batches of a store, newest first.

const BATCH_FILTER = [["", "All"], ["pending", "Pending"], ["running", "Running"], ["paused", "Paused"], ["completed", "Completed"], ["cancelled", "Cancelled"]];
function dashboard(view) {
  const { snapshot } = view;
  sayDisplayed(view);
  fetchDownloads(view);
  followCards(view);
  return [
    h("div", { key: "head", class: "bk-row bk-spread bk-dashboard-head" },
      h("h2", { title: snapshot.store }, "Batches"),
      h("span", { class: "bk-muted", role: "status" }, summaryOf(snapshot))),
    snapshot.failure ? h("div", { key: "failure", class: "bk-notice bk-error", role: "alert" },
      h("strong", null, "Error:"), h("span", { class: "bk-notice-text" }, `The batches cannot be read at the moment; what is shown may be old. ${snapshot.failure}`)) : null,
    snapshot.stored ? filtersOf(view) : null,
    downloadState(view),
    snapshot.cards.length ? h("ul", { key: "cards", class: "bk-cards" }, snapshot.cards.map((card) => cardOf(view, card))) : nothingOf(view),
    snapshot.cards.length < snapshot.matching ? h("div", { key: "more", class: "bk-row bk-more" },
      press(view, "Show more", { run: () => view.intend("more") }),
      h("span", null, `${number(snapshot.cards.length)} of ${number(snapshot.matching)} are shown, the newest first.`)) : null,
  ];
}

function summaryOf({ stored, matching, archived, others, listed }) {
  const hidden = others ? `${number(others)} of other owners not shown` : "";
  if (!stored) return hidden;
  const shown = counted(matching, listed.archived ? "archived batch" : "batch", listed.archived ? "archived batches" : "batches");
  const more = listed.archived !== false || !archived ? "" : `${number(archived)} archived not shown`;
  return [shown, more, hidden].filter(Boolean).join(", ");
}

function filtersOf(view) {
  const { listed, agents, archived } = view.snapshot;
  const field = (key, label, control) => h("div", { key, class: "bk-field" }, h("label", { for: view.id(key) }, label), control);
  const choice = (key, label, options) => field(key, label, h("select", {
    id: view.id(key), value: listed[key], onchange: (event) => listBatches(view, { [key]: event.target.value }),
  }, options.map(([value, text]) => h("option", { key: value, value }, text))));
  return h("div", { key: "filters", class: "bk-filters", role: "search", "aria-label": "Filter the batches" },
    choice("agent", "Agent", [["", "All"], ...agents]),
    choice("status", "Status", BATCH_FILTER),
    field("text", "Name, file or ID", h("input", {
      id: view.id("text"), type: "search", autocomplete: "off", value: listed.text, oninput: (event) => {
        clearTimeout(view.local.typing?.timer);
        view.local.typing = { text: event.target.value.trim(), timer: setTimeout(() => listBatches(view, {}), 300) };
      },
    })),
    archived || listed.archived ? h("label", { key: "archived", class: "bk-row bk-archived" },
      h("input", { type: "checkbox", checked: listed.archived, onchange: (event) => listBatches(view, { archived: event.target.checked }) }),
      `Archived (${number(archived)})`) : null);
}

function nothingOf(view) {
  const { stored, archived, listed, failure, wizard } = view.snapshot;
  if (failure) return null;
  if (!stored) {
    return h("div", { key: "nothing", class: "bk-empty" },
      h("h3", null, "No batches yet"),
      h("p", null, "Make one from a CSV file: ", wizard ? h("a", { href: wizard }, "New batch") : ["run ", h("code", null, "ws.wizard()"), " in a cell"], ". It is shown here as soon as it is started."));
  }
  const filtered = listed.agent || listed.status || listed.text;
  if (!filtered && !listed.archived && archived) {
    return h("div", { key: "nothing", class: "bk-empty" },
      h("p", null, archived === 1 ? "The only batch is archived." : `All ${number(archived)} batches are archived.`),
      press(view, "Show the archived ones", { run: () => listBatches(view, { archived: true }) }));
  }
  return h("div", { key: "nothing", class: "bk-empty" },
    h("p", null, filtered ? "No batch matches the filter." : "No batch is archived."),
    press(view, filtered ? "Clear the filter" : "Show the others", { run: () => listBatches(view, { agent: "", status: "", text: "", archived: false }) }));
}

function render({ model, el }) {
  return show(model, el, dashboard);
}

export default { render };
