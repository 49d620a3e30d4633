// "More options" of the last step: limits that most batches do without. Closed unless it is opened, or something is wrong in it.

const WEEK = [["mon", "Mon"], ["tue", "Tue"], ["wed", "Wed"], ["thu", "Thu"], ["fri", "Fri"], ["sat", "Sat"], ["sun", "Sun"]];
const CAPACITY = [["", "As the platform is set"], ["reject", "Reject it; it is sent again later"], ["queue", "Queue it until there is room"]];

function moreOptions(view, configure) {
  const { local } = view;
  const { options, problems, options_set: count } = configure;
  const wrong = Object.keys(options).some((name) => problems[name]);
  const toggle = (event) => {
    // Not by itself: it would be closed again by the next drawing.
    event.preventDefault();
    local.moreOptions = !local.moreOptions;
    view.redraw();
  };
  return h("details", { key: "more", class: "bk-options", open: local.moreOptions || wrong },
    h("summary", { onclick: toggle }, "More options", count ? h("span", { class: "bk-chip bk-info" }, `${number(count)} set`) : null),
    local.moreOptions || wrong ? h("div", { key: "options", class: "bk-two" },
      h("div", { key: "left", class: "bk-stack" },
        optionField(view, configure, "max_in_flight", "Max In Flight", "No more executions than this are unfinished at a time. Empty: any number.", { inputmode: "numeric" }),
        capacityField(view, configure),
        optionField(view, configure, "item_deadline", "Item Deadline (minutes)",
          "An execution that has not finished after so long is not waited for any longer; on the platform it goes on. Empty: it is waited for without end.", { inputmode: "decimal" }),
        failureFields(view, configure)),
      h("div", { key: "right", class: "bk-stack" }, hoursFields(view, configure))) : null);
}

const setOption = (view, name, value) => view.intend("configure", { options: { [name]: value } });

function optionField(view, configure, name, label, hint, more) {
  return fieldOf(view, name, label, configure.problems[name], hint, (props) => h("input", {
    ...props, type: "text", autocomplete: "off", value: configure.options[name], ...more,
    oninput: (event) => typed(view, name, () => setOption(view, name, event.target.value)),
  }));
}

function capacityField(view, { options, problems }) {
  return fieldOf(view, "on_capacity_limit", "On Capacity Limit", problems.on_capacity_limit,
    "What the platform is asked to do with a row that it has no room for.", (props) => h("select", {
      ...props, value: options.on_capacity_limit, onchange: (event) => setOption(view, "on_capacity_limit", event.target.value),
    }, CAPACITY.map(([value, text]) => h("option", { key: value, value }, text))));
}

function failureFields(view, configure) {
  return h("fieldset", { key: "failures", class: "bk-fieldset", "aria-describedby": view.id("failures-hint") },
    h("legend", null, "Failure Threshold"),
    h("p", { id: view.id("failures-hint"), class: "bk-muted bk-hint" }, "The batch pauses itself when so many executions have failed since it started or was last resumed, and goes on once you resume it. Empty: it does not."),
    h("div", { class: "bk-three" },
      optionField(view, configure, "failure_count", "Number failed", "", { inputmode: "numeric" }),
      optionField(view, configure, "failure_share", "% failed", "", { inputmode: "decimal" }),
      optionField(view, configure, "failure_minimum", "Ended before % counts", "executions", { inputmode: "numeric" })));
}

function hoursFields(view, configure) {
  const { options, problems } = configure;
  // Not the whole list: what is drawn may be older than the last click.
  const choose = (day) => (event) => view.intend("configure", { day, on: event.target.checked });
  const clock = (name, label) => fieldOf(view, name, label, problems[name], "", (props) => h("input", {
    ...props, type: "time", value: options[name], onchange: (event) => setOption(view, name, event.target.value),
  }));
  return h("fieldset", { key: "hours", class: "bk-fieldset", "aria-describedby": view.id("hours-hint") },
    h("legend", null, "Working Hours"),
    h("p", { id: view.id("hours-hint"), class: "bk-muted bk-hint" }, "Rows are sent only in these hours; the others wait for the next ones. What is running goes on."),
    h("label", { class: "bk-choice" },
      h("input", { type: "checkbox", checked: options.hours, onchange: (event) => setOption(view, "hours", event.target.checked) }), "Send in working hours only"),
    options.hours ? h("div", { key: "window", class: "bk-stack" },
      h("fieldset", { key: "days", class: "bk-fieldset", "aria-describedby": problems.hours_days ? view.id("days-problem") : null },
        h("legend", null, "Days"),
        h("div", { class: "bk-days" }, WEEK.map(([day, text]) => h("label", { key: day, class: "bk-choice" },
          h("input", { type: "checkbox", checked: options.hours_days.includes(day), onchange: choose(day) }), text))),
        problems.hours_days ? h("span", { id: view.id("days-problem"), class: "bk-error-text" }, problems.hours_days) : null),
      h("div", { key: "clocks", class: "bk-three" }, clock("hours_start", "From"), clock("hours_end", "To")),
      configure.ends_next_day ? h("p", { key: "night", class: "bk-muted bk-hint" }, "They end on the next day.") : null,
      fieldOf(view, "hours_zone", "Time Zone", problems.hours_zone, "The clock that counts, by its IANA name.", (props) => zoneInput(view, {
        ...props, value: options.hours_zone, oninput: (event) => typed(view, "hours_zone", () => setOption(view, "hours_zone", event.target.value)),
      }))) : null);
}

/** A time zone to type, or to choose from those the browser knows. */
function zoneInput(view, props) {
  const list = view.id("zones");
  const known = (view.local.zones ??= Intl.supportedValuesOf?.("timeZone") ?? []);
  return [
    h("input", { key: "zone", type: "text", spellcheck: "false", autocomplete: "off", list, ...props }),
    h("datalist", { key: "zones", id: list }, known.map((name) => h("option", { key: name, value: name }))),
  ];
}

/** "Mon, Tue 08:00 to 18:00 (Europe/Berlin)" */
function hoursWords({ hours_days: days, hours_start: from, hours_end: to, hours_zone: zone }) {
  const named = WEEK.filter(([day]) => days.includes(day)).map(([, text]) => text).join(", ");
  return `${named} ${from} to ${to} (${zone})`;
}
