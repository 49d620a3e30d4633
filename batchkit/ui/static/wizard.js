// The wizard: the agent on top, the steps, and the step that is open.

const STEPS = { upload: uploadStep, map: mapStep, preview: previewStep, configure: configureStep };

function wizard(view) {
  const { snapshot } = view;
  fetchDownloads(view);
  if (!view.local.zoneSaid) {
    view.local.zoneSaid = true;
    view.intend("seen_from", { zone: userZone() });
  }
  if (snapshot.batch || snapshot.looked_at || snapshot.configure.options.hours) sayDisplayed(view);
  if (snapshot.batch) return [demoBanner(snapshot), ...batchPage(view)];
  return [
    demoBanner(snapshot),
    agentChooser(view),
    stepper(view),
    h("section", { key: `step-${snapshot.step}`, class: "bk-step bk-stack", "aria-labelledby": view.id("step-title") },
      h("h2", { id: view.id("step-title"), tabindex: -1, ref: (title) => arrive(view, title) }, snapshot.steps.find((step) => step.current).label),
      STEPS[snapshot.step](view),
      snapshot.not_kept ? h("p", { key: "not-kept", class: "bk-muted bk-hint" }, snapshot.not_kept) : null),
    stepButtons(view),
  ];
}

function demoBanner({ demo }) {
  return demo ? h("div", { key: "demo", class: "bk-notice bk-info" }, h("strong", null, "Demo:"),
    h("span", { class: "bk-notice-text" }, "No platform is configured, so this is the demo platform on this machine: nothing leaves it. Set BATCHKIT_URL and BATCHKIT_API_KEY for a real one.")) : null;
}

function agentChooser(view) {
  const { agents, agent, failure, working, platform } = view.snapshot;
  const asked = working.platform ?? working.agents;
  return h("div", { key: "agent", class: "bk-agent" },
    h("div", { class: "bk-row bk-bottom" },
      h("div", { class: "bk-field bk-grow" },
        h("label", { for: view.id("agent") }, "Agent"),
        h("select", { id: view.id("agent"), value: agent?.id ?? "", disabled: !agents, onchange: (event) => view.intend("choose_agent", { id: event.target.value }) },
          h("option", { key: "", value: "" }, agents ? (agents.length ? "Choose an agent" : "There is no agent on this platform") : "…"),
          (agents ?? []).map((one) => h("option", { key: one.id, value: one.id }, one.name)))),
      h("span", { class: "bk-muted bk-platform", role: "status" }, asked ? `${asked.words}…` : `${agent?.version != null ? `Version ${agent.version} ` : ""}on ${platform}`)),
    failure ? h("div", { class: "bk-notice bk-error bk-gap", role: "alert" }, h("strong", null, "Error:"), h("span", { class: "bk-notice-text" }, failure),
      h("button", { class: "bk-button", type: "button", onclick: () => view.intend("try_again") }, "Try again")) : null);
}

function stepper(view) {
  const { steps } = view.snapshot;
  return h("nav", { key: "stepper", "aria-label": "Steps" },
    h("ol", { class: "bk-steps" }, steps.map((step, index) => {
      const closed = Boolean(step.obstacle) && !step.current;
      const standing = step.current ? "current" : step.done ? "done" : closed ? "not open yet" : "open";
      return h("li", { key: step.key, class: `bk-step-item${step.current ? " bk-current" : ""}${step.done ? " bk-done" : ""}` },
        h("button", {
          class: "bk-step-button", type: "button", "aria-current": step.current ? "step" : null, "aria-disabled": closed ? "true" : "false", title: closed ? step.obstacle : null,
          onclick: () => (closed ? null : go(view, step.key)),
        },
          h("span", { class: "bk-step-number", "aria-hidden": "true" }, step.done && !step.current ? "✓" : index + 1),
          h("span", { class: "bk-step-label" }, step.label), h("span", { class: "bk-sr" }, `, ${standing}`)));
    })));
}

function go(view, step) {
  view.local.leaving = true;
  view.ask("go_to", { step }).catch(() => (view.local.leaving = false));
}

/** After a step was left on purpose: to read on where the next one begins. */
function arrive(view, title) {
  if (!view.local.leaving) return;
  view.local.leaving = false;
  queueMicrotask(() => {
    title.focus({ preventScroll: true });
    (view.el.querySelector(".bk-steps") ?? title).scrollIntoView({ block: "nearest" });
  });
}

function stepButtons(view) {
  const { steps } = view.snapshot;
  const at = steps.findIndex((step) => step.current);
  const back = steps[at - 1];
  const next = steps[at + 1];
  const waits = next?.obstacle;
  return h("div", { key: "step-buttons", class: "bk-row bk-spread bk-step-buttons" },
    back ? h("button", { key: "back", class: "bk-button", type: "button", onclick: () => go(view, back.key) }, `Back to ${back.label}`) : h("span", { key: "no-back" }),
    next ? h("div", { key: "next", class: "bk-row bk-next" },
      waits ? h("span", { class: "bk-muted", id: view.id("waits") }, waits) : null,
      h("button", { class: "bk-button bk-primary", type: "button", "aria-disabled": waits ? "true" : "false", "aria-describedby": waits ? view.id("waits") : null,
        onclick: () => !waits && go(view, next.key) }, `Continue to ${next.label}`)) : null);
}

function render({ model, el }) {
  return show(model, el, wizard);
}

export default { render };
