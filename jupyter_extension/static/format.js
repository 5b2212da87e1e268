// Values as people read them: texts of numbers, times and paths. Nothing here knows the page.

/** @import { ActiveRun, PanelFlow } from "./types" */

/** @param {number | null | undefined} seconds */
export function duration(seconds) {
  if (seconds === null || seconds === undefined) return "";
  if (seconds < 0.001) return "< 1 ms";
  if (seconds < 1) return `${Math.floor(seconds * 1000)} ms`;
  if (seconds < 60) return `${(Math.floor(seconds * 10) / 10).toFixed(1)} s`;
  if (seconds < 3600) return `${(Math.floor(seconds / 6) / 10).toFixed(1)} min`;
  return `${(Math.floor(seconds / 360) / 10).toFixed(1)} h`;
}

/**
 * Seconds since then, never less than none.
 *
 * @param {string} utc
 * @param {number} nowMs
 */
export function since(utc, nowMs = Date.now()) {
  return Math.max(0, (nowMs - Date.parse(utc)) / 1000);
}

/**
 * @param {string} utc
 * @param {number} nowMs
 */
export function ago(utc, nowMs = Date.now()) {
  const seconds = since(utc, nowMs);
  if (seconds < 5) return "just now";
  if (seconds < 60) return `${Math.floor(seconds)} s ago`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ago`;
  if (seconds < 86400) return `${Math.floor(seconds / 3600)} h ago`;
  return `${Math.floor(seconds / 86400)} d ago`;
}

/**
 * How far the clock of this page is from UTC then.
 *
 * @param {Date} when
 */
export function offset(when) {
  const minutes = -when.getTimezoneOffset();
  const rest = Math.abs(minutes) % 60;
  return minutes ? `UTC${minutes < 0 ? "-" : "+"}${Math.floor(Math.abs(minutes) / 60)}${rest ? `:${String(rest).padStart(2, "0")}` : ""}` : "UTC";
}

/**
 * When something comes: soon in words, later by the clock of a zone, which is named. It is this page's where it is `null`, or unknown to the browser.
 *
 * @param {string} utc
 * @param {number} nowMs
 * @param {string | null} tz
 */
export function ahead(utc, nowMs = Date.now(), tz = null) {
  const seconds = (Date.parse(utc) - nowMs) / 1000;
  if (seconds < 1) return "now";
  if (seconds < 60) return `in ${Math.ceil(seconds)} s`;
  if (seconds < 3600) return `in ${Math.ceil(seconds / 60)} min`;
  const when = new Date(utc);
  let timeZone = tz || undefined;
  try {
    when.toLocaleString([], { timeZone });
  } catch {
    timeZone = undefined;
  }
  const time = `${when.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", hourCycle: "h23", timeZone })} ${timeZone || offset(when)}`;
  const date = (/** @type {Date} */ one, /** @type {string | undefined} */ zone) => Date.parse(one.toLocaleDateString("sv-SE", { timeZone: zone }));
  const day = Math.round((date(when, timeZone) - date(new Date(nowMs), undefined)) / 86400000); // "tomorrow" is the reader's
  if (day === 0) return `at ${time}`;
  if (day === 1) return `tomorrow ${time}`;
  return `${when.toLocaleDateString([], Math.abs(day) < 7 ? { weekday: "short", timeZone } : { day: "numeric", month: "short", timeZone })} ${time}`;
}

/**
 * How a flow stands to what is expected of it, with the time that is left.
 *
 * @param {Pick<PanelFlow, "expected" | "expected_text">} row
 * @param {number} nowMs
 */
export function expectedText({ expected, expected_text: text }, nowMs = Date.now()) {
  const seconds = expected && expected.due_utc ? (Date.parse(String(expected.due_utc)) - nowMs) / 1000 : 0;
  if (seconds <= 0) return text || "";
  const left = seconds < 90 ? `${Math.ceil(seconds)} s` : seconds < 5400 ? `${Math.ceil(seconds / 60)} min` : `${Math.round(seconds / 3600)} h`;
  return seconds < 172800 ? `${text}, ${left} left` : text || "";
}

// To make one costs as much as forty uses.
const CLOCK = new Intl.DateTimeFormat([], { dateStyle: "medium", timeStyle: "medium" });
const DAY_TIME = new Intl.DateTimeFormat([], { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });

/** @param {string | number | Date} utc */
export function clock(utc, format = CLOCK) {
  const when = new Date(utc);
  return Number.isNaN(when.getTime()) ? String(when) : format.format(when);
}

/**
 * As reasons and logs write it, whatever the browser's language.
 *
 * @param {string} utc
 */
export function dayTime(utc) {
  return clock(utc, DAY_TIME);
}

/**
 * @param {string} utc
 * @param {number} nowMs
 */
export function shortClock(utc, nowMs = Date.now()) {
  const when = new Date(utc);
  const time = dayTime(utc);
  return when.toDateString() === new Date(nowMs).toDateString()
    ? time : `${when.toLocaleDateString([], { day: "2-digit", month: "short" })} ${time}`;
}

/** @param {number} count */
export function bytes(count) {
  if (count < 1024) return `${count} B`;
  if (count < 1048576) return `${(count / 1024).toFixed(1)} kB`;
  return count < 1073741824 ? `${(count / 1048576).toFixed(1)} MB` : `${(count / 1073741824).toFixed(1)} GB`;
}

/**
 * @param {number} count
 * @param {string} noun
 */
export function plural(count, noun) {
  return `${count.toLocaleString()} ${noun}${count === 1 ? "" : "s"}`;
}

/** @param {ActiveRun} run */
export function progressText(run) {
  if (run.done === null || run.done === undefined) return "";
  return run.total ? `${run.done.toLocaleString()} of ${run.total.toLocaleString()}` : run.done.toLocaleString();
}

/**
 * The last part of a path, with either separator.
 *
 * @param {string} path
 */
export function nameOf(path) {
  return path.split(/[\\/]/).at(-1) || "";
}

/**
 * Of paths the ends that tell them apart: the name, and where several have it, with as many folders as it takes.
 *
 * @param {string[]} paths
 * @returns {Map<string, string>}
 */
export function endsApart(paths) {
  /** @type {Map<string, string>} */
  const found = new Map();
  let left = [...new Set(paths)];
  for (let depth = 1; left.length; depth += 1) {
    const ends = left.map((path) => path.split("/").slice(-depth).join("/"));
    /** @type {Record<string, number>} */
    const count = {};
    for (const end of ends) count[end] = (count[end] || 0) + 1;
    left.forEach((path, index) => (count[ends[index]] === 1 || ends[index] === path) && found.set(path, ends[index]));
    left = left.filter((path) => !found.has(path));
  }
  return found;
}

/**
 * Whether a text holds every word of a search, in any case and order.
 *
 * @param {string} text
 * @param {string} search
 */
export function matches(text, search) {
  const lower = text.toLowerCase();
  return search.toLowerCase().split(/\s+/).every((word) => lower.includes(word));
}
