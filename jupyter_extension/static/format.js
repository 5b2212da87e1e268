import { h } from "./dom.js";

// Values as people read them, and the small pieces every part of the panel is made of.

export function duration(seconds) {
  if (seconds === null || seconds === undefined) return "";
  if (seconds < 0.001) return "<1ms";
  if (seconds < 1) return `${Math.floor(seconds * 1000)}ms`;
  if (seconds < 60) return `${(Math.floor(seconds * 10) / 10).toFixed(1)}s`;
  if (seconds < 3600) return `${(Math.floor(seconds / 6) / 10).toFixed(1)}m`;
  return `${(Math.floor(seconds / 360) / 10).toFixed(1)}h`;
}

export function since(utc) {
  return Math.max(0, (Date.now() - Date.parse(utc)) / 1000);
}

export function ago(utc) {
  const seconds = since(utc);
  if (seconds < 5) return "just now";
  if (seconds < 60) return `${Math.floor(seconds)} s ago`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ago`;
  if (seconds < 86400) return `${Math.floor(seconds / 3600)} h ago`;
  return `${Math.floor(seconds / 86400)} d ago`;
}

export function ahead(utc) {
  const seconds = (Date.parse(utc) - Date.now()) / 1000;
  if (seconds < 1) return "now";
  if (seconds < 60) return `in ${Math.ceil(seconds)} s`;
  if (seconds < 3600) return `in ${Math.ceil(seconds / 60)} min`;
  const when = new Date(utc);
  const clock = when.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
  const today = new Date();
  const day = Math.round((new Date(when).setHours(0, 0, 0, 0) - new Date(today).setHours(0, 0, 0, 0)) / 86400000);
  if (day === 0) return `at ${clock}`;
  if (day === 1) return `tomorrow ${clock}`;
  return `${when.toLocaleDateString([], day < 7 ? { weekday: "short" } : { day: "numeric", month: "short" })} ${clock}`;
}

export function clock(utc) {
  return new Date(utc).toLocaleString([], { dateStyle: "medium", timeStyle: "medium" });
}

// As reasons and logs write it, whatever the browser's language.
export function dayTime(utc) {
  return new Date(utc).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });
}

export function shortClock(utc) {
  const when = new Date(utc);
  const time = dayTime(utc);
  return when.toDateString() === new Date().toDateString()
    ? time : `${when.toLocaleDateString([], { day: "2-digit", month: "short" })} ${time}`;
}

export function bytes(count) {
  if (count < 1024) return `${count} B`;
  if (count < 1048576) return `${(count / 1024).toFixed(1)} kB`;
  return count < 1073741824 ? `${(count / 1048576).toFixed(1)} MB` : `${(count / 1073741824).toFixed(1)} GB`;
}

export function icon(mark) {
  return h("span", { class: `de-shape de-${mark.tone}`, html: SHAPES[mark.shape] || "", "aria-hidden": "true" });
}

export function sign(mark, text) {
  return h("span", { class: `de-sign de-${mark.tone}` }, icon(mark), h("span", { class: "de-word" }, text || mark.word));
}

export function agoText(utc) {
  return h("span", { class: "de-ago", title: clock(utc), tick: () => ago(utc) });
}

export function middle(text, most) {
  if (!text || text.length <= most) return text || "";
  const head = Math.ceil(most / 3);
  return `${text.slice(0, head)}…${text.slice(-(most - head - 1))}`;
}

export function plural(count, noun) {
  return `${count.toLocaleString()} ${noun}${count === 1 ? "" : "s"}`;
}

// A path that may break behind its separators, never inside a name.
export function pathText(path) {
  return path.split(/(?<=[\\/])/).map((part, index) => [index ? h("wbr") : null, part]);
}
