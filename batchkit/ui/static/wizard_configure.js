// The last step: how the batch is to run, and what follows from that.

function configureStep(view) {
  const { configure, preview } = view.snapshot;
  if (!configure.rows) return [h("p", { key: "none", class: "bk-empty" }, preview.counts ? "No row can be sent." : "The rows are being checked.")];
  return [
    earlierOf(view, configure),
    h("div", { key: "fields", class: "bk-two" },
      h("div", { key: "left", class: "bk-stack" }, nameField(view, configure), versionField(view), profileField(view, configure), startField(view, configure)),
      h("div", { key: "right", class: "bk-stack" },
        numberField(view, configure, "max_concurrent", "Max Concurrent", "executions triggered per batch interval", { min: 1, step: 1 }),
        numberField(view, configure, "batch_interval", "Batch Interval", "seconds between two groups", { min: 0, step: "any" }),
        outlookOf(view, configure))),
    moreOptions(view, configure),
    startButtons(view, configure),
  ];
}

function earlierOf(view, { earlier }) {
  if (!earlier.length) return null;
  const { dashboard, looked_at: looked } = view.snapshot;
  const [first, ...rest] = earlier;
  const line = (one) => {
    const open = looked?.card.id === one.id;
    return [h("strong", null, one.name), ", ", h("time", { datetime: one.at, title: exactTime(one.at) }, relativeTime(one.at)), `: ${one.status}, ${one.progress}. `,
      h("button", { class: "bk-link", type: "button", "aria-expanded": String(open), "aria-label": `${open ? "Hide" : "Show"} it: batch ${one.name}`,
        onclick: () => view.intend("look_at", { batch: open ? "" : one.id }) }, open ? "Hide it" : "Show it")];
  };
  return [
    h("section", { key: "earlier", class: "bk-notice bk-warning bk-block", "aria-labelledby": view.id("earlier") },
      h("h3", { id: view.id("earlier"), class: "bk-minor" }, "This file already ran for this agent"),
      h("p", null, line(first)),
      rest.length ? h("details", null, h("summary", null, `and in ${counted(rest.length, "earlier batch", "earlier batches")}`),
        h("ul", { class: "bk-list" }, rest.map((one) => h("li", { key: one.id }, line(one))))) : null,
      h("p", null, "Starting it again runs the same rows once more.",
        dashboard ? [" All batches: ", h("a", { href: dashboard, target: "_blank", rel: "noopener" }, "open the dashboard"), "."] : null)),
    looked ? h("ul", { key: "looked-at", class: "bk-cards", "aria-label": "The earlier batch" }, cardOf(view, looked.card, { keeping: false })) : null,
    looked ? downloadState(view) : null,
  ];
}

function nameField(view, { name, problems }) {
  return fieldOf(view, "name", "Batch Name", problems.name, "", (props) => h("input", {
    ...props, type: "text", maxlength: 200, value: name, oninput: (event) => typed(view, "name", () => view.intend("configure", { name: event.target.value })),
  }));
}

function versionField(view) {
  const { agent } = view.snapshot;
  if (!agent || agent.version == null) return null;
  return fieldOf(view, "version", "Workflow Version", "", "Another version may have other input variables; the columns are checked again.", (props) => h("select", {
    ...props, value: agent.version, onchange: (event) => view.intend("choose_version", { version: Number(event.target.value) }),
  }, agent.versions.map((one) => h("option", { key: one.version, value: one.version }, `Version ${one.version}${one.published ? " · published" : ""}`))));
}

function profileField(view, { profile, profiles, needed }) {
  if (!profiles.length) return null;
  const group = (kind, label) => {
    const some = profiles.filter((one) => one.kind === kind);
    return some.length ? h("optgroup", { key: kind, label }, some.map((one) => h("option", { key: one.id, value: one.id }, one.name))) : null;
  };
  const hint = needed ? `For the ${counted(needed, "row")} that ${needed === 1 ? "names" : "name"} none.` : "Every row names one, so this is not used.";
  return fieldOf(view, "profile", "Default Agent Profile", "", hint, (props) => h("select", {
    ...props, value: profile, onchange: (event) => view.intend("configure", { profile: event.target.value }),
  }, h("option", { key: "", value: "" }, "None"), group("Profile", "Agent profiles"), group("Pool", "Pools, which take turns")));
}

function startField(view, { later, start_at: startAt, problems }) {
  const choose = (value) => view.intend("configure", { later: value, ...(value && !startAt ? { start_at: nextHour() } : {}) });
  const radio = (value, text) => h("label", { key: text, class: "bk-choice" },
    h("input", { type: "radio", name: view.id("later"), checked: later === value, onchange: () => choose(value) }), text);
  const past = later && startAt && new Date(startAt) <= Date.now();
  return h("fieldset", { key: "start", class: "bk-fieldset" },
    h("legend", null, "Start Time"),
    radio(false, "Now"), radio(true, "At a date and time"),
    later ? fieldOf(view, "start-at", `Date and time (${userZone()})`, problems.start_at,
      startAt && !problems.start_at ? `${exactTime(startAt)}${past ? ". That is past, so it starts at once." : ` (${relativeTime(startAt)})`}` : "", (props) => h("input", {
        ...props, type: "datetime-local", value: localInput(startAt),
        onchange: (event) => view.intend("configure", { start_at: event.target.value ? new Date(event.target.value).toISOString() : "" }),
      })) : null);
}

function numberField(view, configure, key, label, hint, limits) {
  return fieldOf(view, key, label, configure.problems[key], hint, (props) => h("input", {
    ...props, type: "number", inputmode: "decimal", value: configure[key], ...limits,
    oninput: (event) => typed(view, key, () => view.intend("configure", { [key]: event.target.value })),
  }));
}

// What follows

function outlookOf(view, configure) {
  const { outlook } = configure;
  const words = outlook ? outlookWords(configure) : ["Correct what is marked to see what follows."];
  return h("section", { key: "outlook", class: "bk-panel bk-outlook", "aria-labelledby": view.id("outlook") },
    h("h3", { id: view.id("outlook"), class: "bk-minor" }, "What follows from this"),
    h("div", { role: "status" }, words.map((text, index) => h("p", { key: index }, text))),
    outlook ? staggerPicture(outlook, Number(configure.batch_interval)) : null);
}

function outlookWords(configure) {
  const { outlook, rows, later, start_at: startAt, batch_interval: interval, max_concurrent: most, options } = configure;
  const begun = later && new Date(startAt) > Date.now() ? atTime(startAt) : "at once";
  const start = opening(outlook) || begun;
  const notes = [
    options.max_in_flight ? `It may take longer: at most ${number(options.max_in_flight)} are unfinished at a time.` : "",
    configure.has_times ? "Rows with a time of their own may start later than that." : "",
  ].filter(Boolean);
  if (Number(interval) === 0) {
    const paced = `${counted(rows, "execution")}, beginning ${start}, at most ${number(most)} unanswered at a time.`;
    return [`${paced} How long it takes is up to the platform.`, options.hours ? "Nothing is sent outside the working hours." : "", ...notes].filter(Boolean);
  }
  if (outlook.groups === 1) return [`${counted(rows, "execution")} in one group, ${start}.`, ...notes];
  const fixed = later || options.hours;
  const last = fixed ? outlook.last_at : new Date(Date.now() + 1000 * outlook.seconds).toISOString();
  return [
    `${counted(rows, "execution")} in ${counted(outlook.groups, "group")} of ${Number(most) === 1 ? "one" : `up to ${number(most)}`}, the first ${start}.`,
    `The last group starts ${fixed ? atTime(last) : `about ${shortTime(last)}`}, ${duration(outlook.seconds)} after the first${options.hours ? ", working hours included" : ""}.`,
    ...notes,
  ];
}

/** When it begins, where it waits for the working hours; empty where it does not. */
const opening = (outlook) => (outlook?.waits && new Date(outlook.first_at) > Date.now() ? `when the working hours begin, ${atTime(outlook.first_at)}` : "");

/** "The other row", "The other 12 rows" */
const others = (rest) => `The other ${rest === 1 ? "row" : `${number(rest)} rows`}`;

/** "at 14:00:00", "on 2 Mar 2026, 14:00:00" */
const atTime = (iso) => `${new Date(iso).toDateString() === new Date().toDateString() ? "at" : "on"} ${shortTime(iso)}`;

const PICTURE = { width: 320, height: 72, left: 4, base: 52 };

/** Each group is a bar, as high as it has rows; between two that wait for the next working hours is a line. */
function staggerPicture(outlook, interval) {
  const { bars, left_out: leftOut, seconds, groups } = outlook;
  if (groups < 2 || !seconds) return null;
  const { width, height, left, base } = PICTURE;
  const slots = bars.length + (leftOut ? 2 : 0);
  const pitch = (width - 2 * left) / slots;
  const most = Math.max(...bars.map(([, count]) => count));
  const place = (index) => left + pitch * (leftOut && index === bars.length - 1 ? index + 2 : index);
  const label = `${counted(groups, "group")}: ${bars.slice(0, 5).map(([after, count]) => `${number(count)} after ${duration(after)}`).join(", ")}${groups > 5 ? `, and so on until ${duration(seconds)}` : ""}`;
  return h("svg", { key: "picture", class: "bk-stagger", viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": label },
    h("line", { x1: left, x2: width - left, y1: base + 0.5, y2: base + 0.5, class: "bk-axis" }),
    bars.map(([after, count], index) => h("rect", {
      key: index, x: place(index) + pitch * 0.12, width: Math.max(1, Math.min(28, pitch * 0.76)), y: base - (44 * count) / most, height: (44 * count) / most,
    }, h("title", null, `${counted(count, "row")} after ${duration(after)}`))),
    bars.map(([after], index) => index && after - bars[index - 1][0] > 1.5 * interval && !(leftOut && index === bars.length - 1)
      ? h("line", { key: `night-${index}`, x1: place(index), x2: place(index), y1: 4, y2: base, class: "bk-night" }) : null),
    leftOut ? h("text", { x: place(bars.length - 1) - pitch, y: base - 6, "text-anchor": "middle" }, "…") : null,
    h("text", { x: left, y: height - 4 }, "start"),
    h("text", { x: width - left, y: height - 4, "text-anchor": "end" }, `+ ${duration(seconds)}`));
}

// Starting

function startButtons(view, configure) {
  const { snapshot } = view;
  const { rows, trial, obstacle, launching, dropped, not_made: notMade } = configure;
  const off = Boolean(obstacle) || launching || view.local.starting === snapshot.preview.round;
  const start = (tried) => {
    if (off) return;
    view.local.starting = snapshot.preview.round;
    view.local.leaving = true;
    const done = () => {
      view.local.starting = null;
      view.redraw();
    };
    view.ask("start", { rows, round: snapshot.preview.round, trial: tried }).then(done, done);
    view.redraw();
  };
  const ask = (tried) => view.confirm({
    title: tried ? `Try the first ${tried} rows?` : `Start ${configure.name}?`,
    action: tried ? `Trigger ${counted(tried, "execution")}` : `Trigger ${counted(rows, "execution")}`,
    text: confirmation(view, configure, tried, dropped),
    go: () => start(tried),
  });
  return h("section", { key: "start-buttons", class: "bk-start", "aria-label": "Start" },
    workOf(snapshot.working.launch, "launch"),
    notMade ? h("div", { key: "not-made", class: "bk-notice bk-error", role: "alert" }, h("strong", null, "Error:"),
      h("span", { class: "bk-notice-text" }, `The batch was not made, and nothing was triggered. ${notMade}`)) : null,
    obstacle && !launching ? h("p", { id: view.id("obstacle"), class: "bk-error-text" }, obstacle) : null,
    h("div", { class: "bk-buttons" },
      trial ? press(view, `Try the first ${trial} rows…`, { off, run: () => ask(trial) }) : null,
      press(view, "Start…", { off, primary: true, label: `Start ${configure.name}`, run: () => ask(0) })),
    trial ? h("p", { class: "bk-muted bk-hint" }, `To try the first ${trial} rows triggers just these, now. ${others(rows - trial)} of the batch ${rows - trial === 1 ? "waits" : "wait"} until you have seen how it went.`) : null);
}

function confirmation(view, configure, tried, dropped) {
  const { snapshot } = view;
  const where = `${snapshot.agent.name}${snapshot.agent.version == null ? "" : `, version ${snapshot.agent.version}`}, on ${snapshot.platform}`;
  const hours = configure.options.hours ? [`They are sent in working hours only: ${hoursWords(configure.options)}.`] : [];
  const left = dropped ? [`${counted(dropped, "invalid row")} ${dropped === 1 ? "is" : "are"} left out.`] : [];
  const again = configure.earlier.length ? ["This file already ran for this agent; its rows run once more."] : [];
  const { later, outlook, start_at: startAt } = configure;
  const opens = opening(outlook);
  if (tried) {
    const rest = configure.rows - tried;
    return [`${counted(tried, "execution")} will be triggered ${opens || "now"}: ${where}.`, `${others(rest)} ${rest === 1 ? "waits" : "wait"} until you go on.`, ...hours, ...left, ...again];
  }
  const when = opens || (later && new Date(startAt) > Date.now() ? `from ${exactTime(startAt)} on` : "from now on");
  return [`${counted(configure.rows, "execution")} will be triggered ${when}: ${where}.`, ...hours, ...left, ...again];
}
