// Parts of forms: a control with its label, what helps and what is wrong, and times as they are typed.

/** A control with its label, what helps, and what is wrong, tied together. */
function fieldOf(view, key, label, problem, hint, control) {
  const id = view.id(key);
  const notes = [hint ? `${id}-hint` : "", problem ? `${id}-problem` : ""].filter(Boolean).join(" ");
  return h("div", { key, class: "bk-field" },
    h("label", { for: id }, label),
    control({ id, "aria-describedby": notes || null, "aria-invalid": problem ? "true" : null }),
    hint ? h("span", { id: `${id}-hint`, class: "bk-muted bk-hint" }, hint) : null,
    problem ? h("span", { id: `${id}-problem`, class: "bk-error-text" }, problem) : null);
}

const pad = (value) => String(value).padStart(2, "0");

/** A moment as an input of a date and a time has it: in the user's zone. */
function localInput(iso) {
  if (!iso) return "";
  const time = new Date(iso);
  const day = `${time.getFullYear()}-${pad(time.getMonth() + 1)}-${pad(time.getDate())}`;
  return `${day}T${[time.getHours(), time.getMinutes(), ...(time.getSeconds() ? [time.getSeconds()] : [])].map(pad).join(":")}`;
}

/** The next full hour. */
function nextHour() {
  const time = new Date(Date.now() + 3600000);
  time.setMinutes(0, 0, 0);
  return time.toISOString();
}
