// Numbers and times as people read them: in the browser's language and the user's time zone.

// Made once: to make a format takes far longer than to use it.
const NUMBER = new Intl.NumberFormat();
const EXACT = new Intl.DateTimeFormat(undefined, { dateStyle: "full", timeStyle: "long" });
const CLOCK = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit" });
const DAY = new Intl.DateTimeFormat(undefined, { year: "numeric", month: "short", day: "numeric" });
const RELATIVE = new Intl.RelativeTimeFormat(undefined, { numeric: "auto" });

const number = (value) => (value == null ? "" : NUMBER.format(value));

/** "1 row", "2,000 rows" */
const counted = (count, one, many = `${one}s`) => `${number(count)} ${count === 1 ? one : many}`;

const userZone = () => Intl.DateTimeFormat().resolvedOptions().timeZone;

/** A time in full, for a tooltip: date, time with seconds, zone. */
function exactTime(iso) {
  if (!iso) return "";
  return EXACT.format(new Date(iso));
}

/** A time in short: without the date where it is today. */
function shortTime(iso) {
  if (!iso) return "";
  const time = new Date(iso);
  const clock = CLOCK.format(time);
  if (time.toDateString() === new Date().toDateString()) return clock;
  return `${DAY.format(time)}, ${clock}`;
}

/** "3 minutes ago", "in 2 hours" */
function relativeTime(iso, now = Date.now()) {
  if (!iso) return "";
  const seconds = (new Date(iso).getTime() - now) / 1000;
  if (Math.abs(seconds) < 10) return seconds > 2 ? "in a few seconds" : "just now";
  for (const [unit, size] of [["second", 60], ["minute", 60], ["hour", 24], ["day", 30], ["month", 12]]) {
    const limit = { second: 60, minute: 3600, hour: 86400, day: 2592000, month: 31104000 }[unit];
    if (Math.abs(seconds) < limit) return RELATIVE.format(Math.round(seconds / (limit / size)), unit);
  }
  return RELATIVE.format(Math.round(seconds / 31104000), "year");
}

/** A duration: "45 s", "3 min 20 s", "2 h 5 min", "4 days 3 h" */
function duration(seconds) {
  const whole = Math.round(seconds);
  const parts = [[Math.floor(whole / 86400), "days"], [Math.floor(whole / 3600) % 24, "h"],
    [Math.floor(whole / 60) % 60, "min"], [whole % 60, "s"]];
  const first = parts.findIndex(([amount]) => amount > 0);
  if (first < 0) return "0 s";
  const shown = parts.slice(first, first + 2).filter(([amount]) => amount > 0);
  return shown.map(([amount, unit]) => `${number(amount)} ${amount === 1 && unit === "days" ? "day" : unit}`).join(" ");
}

/** "12.3 MB" */
function fileSize(bytes) {
  const units = ["bytes", "kB", "MB", "GB"];
  let size = bytes;
  let unit = 0;
  for (; size >= 1000 && unit < units.length - 1; unit += 1) size /= 1000;
  return `${unit ? size.toFixed(1) : size} ${units[unit]}`;
}
