// One batch: what it is, how far it is, and what can be done with it.

/** milliseconds after which a command that is not answered is mentioned */
const SLOW = 4000;

/** A button that answers a double click once, and keeps the focus while it is off. */
function press(view, text, { key = text, off = false, danger = false, primary = false, label, run, ...props }) {
  return h("button", {
    key, class: `bk-button${danger ? " bk-danger" : ""}${primary ? " bk-primary" : ""}`, type: "button", "aria-label": label,
    "aria-disabled": off ? "true" : "false", ...props,
    onclick: (event) => {
      if (!off && event.detail <= 1) run();
    },
  }, text);
}

/** Send a command on a batch, and nothing more for it until that is answered. */
function send(view, intent, card) {
  const busy = (view.local.busy ??= new Map());
  if (busy.has(card.id)) return;
  busy.set(card.id, Date.now());
  const done = () => {
    busy.delete(card.id);
    view.redraw();
  };
  view.ask(intent, { batch: card.id, place: view.id("place") }).then(done, done);
  view.redraw();
}

/** keeping: whether it can be archived and deleted here. */
function cardOf(view, card, { keeping = true } = {}) {
  const open = view.local.open === card.id;
  const title = view.id(`card-${card.id}`);
  return h("li", { key: card.id, class: "bk-card" },
    h("article", { "aria-labelledby": title, class: "bk-stack" },
      h("div", { key: "head", class: "bk-card-head" },
        h("h3", { id: title }, cutText(view, card.name, { fits: 70, whole: (view.local.whole ??= new Set()), key: card.id, label: "Name" })),
        h("span", { class: "bk-row" },
          card.archived ? chip("Archived") : null,
          h("span", { class: `bk-chip bk-${card.tone}` }, card.state))),
      h("p", { key: "what", class: "bk-card-what bk-muted" },
        [card.owner && `By ${card.owner}`, card.agent, card.source, paceOf(card), card.hours, card.target, card.id].filter(Boolean).map((text, index) => h("span", { key: index, class: "bk-cut", title: text }, text))),
      progressOf(card),
      countsOf(view, card),
      timesOf(card),
      keeping ? lineageOf(view, card) : null,
      card.reason ? h("p", { key: "reason", class: "bk-card-reason" }, card.reason) : null,
      card.warning ? h("div", { key: "warning", class: "bk-notice bk-warning" },
        h("strong", null, card.state === "Interrupted" ? "Interrupted:" : "Warning:"), h("span", { class: "bk-notice-text" }, card.warning)) : null,
      buttonsOf(view, card, open, keeping),
      panelOf(view, card),
      // Below the buttons, which stay where they are.
      jobOf(view, card),
      noteOf(view, card),
      open ? executionsOf(view, card) : null));
}

function paceOf({ most, interval, limits }) {
  const pace = interval ? `${number(most)} every ${interval < 1 ? `${interval} s` : duration(interval)}` : `${number(most)} at a time`;
  return limits.max_in_flight ? `${pace}, at most ${number(Number(limits.max_in_flight))} in flight` : pace;
}

function progressOf(card) {
  return h("div", { key: "progress", class: "bk-progress" },
    h("div", {
      class: "bk-bar", role: "progressbar", "aria-label": `Progress of ${card.name}`, "aria-valuemin": 0, "aria-valuemax": 100,
      "aria-valuenow": card.percent, "aria-valuetext": card.progress,
    }, h("span", { style: `width:${(100 * card.triggered) / (card.total || 1)}%` })),
    h("span", { class: "bk-progress-text" }, card.progress));
}

/** The counts; each leads to the rows it counts. */
function countsOf(view, card) {
  const text = ({ words: word, count }) => [h("strong", null, number(count)), ` ${word}`];
  const leading = (each) => h("button", {
    class: "bk-count", type: "button", title: "Show these rows", "aria-label": `${number(each.count)} ${each.words}: show these rows of ${card.name}`,
    onclick: () => showExecutions(view, card.id, { status: each.status, execution: each.execution }),
  }, text(each));
  const list = (label, counts) => h("div", { key: label, class: "bk-counts" }, h("span", { class: "bk-counts-label" }, label),
    h("ul", null, counts.map((each) => h("li", { key: `${each.status} ${each.execution}`, class: each.look ? "bk-look" : "" },
      each.count && (each.status || each.execution) ? leading(each) : h("span", null, text(each))))));
  return [list("Rows", card.counts), card.executions.length ? list("Executions", card.executions) : null];
}

function timesOf(card) {
  const time = ({ label, at }) => h("span", { key: label, class: "bk-time" }, `${label} `, h("time", { datetime: at, title: exactTime(at) }, relativeTime(at)));
  return h("p", { key: "times", class: "bk-card-times" }, card.times.map(time), expectedOf(card, time),
    card.runner ? h("span", { key: "runner", class: "bk-time" }, card.runner) : null,
    card.next_group ? time(card.next_group) : null);
}

/** Whose rows it runs again, and which batches run its rows again. */
function lineageOf(view, card) {
  const { parent, reruns } = card.lineage;
  if (!parent && !reruns.length) return null;
  const link = ([id, name]) => (id ? h("button", { key: id, class: "bk-link bk-lineage-link", type: "button", title: name, onclick: () => showCard(view, id) }, name) : name);
  return h("p", { key: "lineage", class: "bk-card-times" },
    parent ? h("span", { key: "parent", class: "bk-time" }, "Rerun of ", link(parent)) : null,
    reruns.length ? h("span", { key: "reruns", class: "bk-time" }, "Run again as ", reruns.map((each, index) => [index ? ", " : "", link(each)])) : null);
}

function expectedOf(card, time) {
  if (!card.expected) return null;
  const { at, seconds } = card.expected;
  if (at) return time({ label: "Expected end", at });
  let text = "not known yet";
  if (seconds != null) text = seconds < 1 ? "at once when it goes on" : `about ${duration(seconds)} after it goes on`;
  else if (card.commands.includes("resume")) text = "not known until it is resumed";
  return h("span", { key: "expected", class: "bk-time" }, `Expected end ${text}`);
}

function jobOf(view, card) {
  const job = view.snapshot.jobs[card.id];
  const fetching = fetchingOf(view, card.id);
  if (fetching) return fetching;
  if (Date.now() - (view.local.busy?.get(card.id) ?? Date.now()) > SLOW) {
    return h("p", { key: "slow", role: "status" }, "The kernel has not answered yet. It may be busy with a cell; the command is done as soon as it can be.");
  }
  if (!job) return null;
  const share = job.total ? Math.round((100 * job.done) / job.total) : null;
  const text = job.total ? `${job.words}: ${number(job.done)} of ${number(job.total)}, ${share} %` : `${job.words}…`;
  return h("div", { key: "job", class: "bk-job" },
    h("div", {
      class: `bk-bar${job.total ? "" : " bk-unknown"}`, role: "progressbar", "aria-label": job.words, "aria-valuetext": text,
      "aria-valuemin": 0, "aria-valuemax": 100, "aria-valuenow": share,
    }, h("span", { style: `width:${share ?? 100}%` })),
    h("span", { role: "status" }, text));
}

function noteOf(view, card) {
  const note = view.snapshot.notes[card.id];
  // The element stays, so that what comes into it is read aloud.
  return h("div", { key: "note", role: "status" }, note ? h("div", { class: `bk-notice bk-${note.kind}` },
    h("strong", null, `${NOTICE_WORDS[note.kind]}:`), h("span", { class: "bk-notice-text" }, note.text),
    note.leads_to ? h("button", {
      class: "bk-link", type: "button", "aria-label": `Show it: the batch that runs rows of ${card.name} again`, onclick: () => showCard(view, note.leads_to),
    }, "Show it") : null,
    h("button", {
      class: "bk-icon-button", type: "button", title: "Dismiss", "aria-label": `Dismiss the message on ${card.name}`,
      onclick: () => view.intend("forget", { batch: card.id }),
    }, "×")) : null);
}

function buttonsOf(view, card, open, keeping) {
  const sent = Boolean(view.local.busy?.has(card.id));
  const busy = sent || Boolean(view.snapshot.jobs[card.id]);
  // Work under way on single rows or results keeps nobody from pausing.
  const can = (name) => card.commands.includes(name) && !(name === "delete" ? busy : sent);
  const button = (text, intent, more = {}) => press(view, text, {
    label: `${text.replace("…", "")} ${card.name}`, off: !can(intent), run: () => send(view, intent, card), ...more,
  });
  return h("div", { key: "buttons", class: "bk-buttons bk-card-buttons" },
    card.commands.includes("take_over") ? button("Continue here", "take_over", { primary: true }) : null,
    // Always in the same places: a second click must not hit what has come into the place of the first.
    button("Pause", "pause"),
    button("Resume", "resume"),
    button("Cancel…", "cancel", { danger: true, run: () => askCancel(view, card) }),
    press(view, open ? "Hide Scheduled Executions" : "View Scheduled Executions", {
      key: "executions", "aria-expanded": String(open), "aria-controls": open ? view.id(`executions-${card.id}`) : null,
      label: `${open ? "Hide" : "View"} Scheduled Executions of ${card.name}`, run: () => toggleExecutions(view, card.id),
    }),
    card.final ? null : press(view, "Change limits…", {
      label: `Change limits of ${card.name}`, off: !can("limit"), "aria-expanded": String(isPanelOpen(view, card, "limits")), run: () => togglePanel(view, card, "limits"),
    }),
    press(view, "Download results…", {
      label: `Download results of ${card.name}`, off: busy, "aria-expanded": String(isPanelOpen(view, card, "download")), run: () => togglePanel(view, card, "download"),
    }),
    keeping && card.commands.includes("rerun") ? press(view, "Run rows again…", {
      label: `Run rows of ${card.name} again`, off: busy, run: () => askRerun(view, card),
    }) : null,
    !keeping ? null : card.archived ? button("Bring back", "unarchive") : button("Archive", "archive", { hidden: !card.final }),
    !keeping ? null : button("Delete…", "delete", { danger: true, hidden: !card.final, run: () => askDelete(view, card) }));
}

function askCancel(view, card) {
  const waiting = card.pending ? `Its ${counted(card.pending, "pending scheduled execution")} will never be triggered.` : "Nothing more of it will be triggered.";
  view.confirm({
    title: `Cancel ${card.name}?`, action: "Cancel the batch", danger: true,
    text: [`${waiting} This cannot be undone.`, "Executions that are running go on."],
    go: () => send(view, "cancel", card),
  });
}

function askDelete(view, card) {
  view.confirm({
    title: `Delete ${card.name}?`, action: "Delete the batch", danger: true,
    text: [`Its ${counted(card.total, "row")}, their results and the log are removed from the store. This cannot be undone.`,
      "The executions on the platform stay. To keep the results, download them first; to have it out of sight, archive it."],
    go: () => send(view, "delete", card),
  });
}
