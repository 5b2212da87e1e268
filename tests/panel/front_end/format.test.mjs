// Values as people read them.

import assert from "node:assert/strict";
import { test } from "node:test";

import { ago, ahead, bytes, clock, dayTime, duration, endsApart, expectedText, matches, nameOf, offset, plural, progressText, since } from "../../../jupyter_extension/static/format.js";

const NOON = Date.UTC(2026, 0, 5, 12);
const utc = (/** @type {number} */ seconds) => new Date(NOON + 1000 * seconds).toISOString();

for (const [seconds, text] of [
  [null, ""], [undefined, ""], [0.0004, "< 1 ms"], [0.0129, "12 ms"], [0.9999, "999 ms"], [1, "1.0 s"], [59.99, "59.9 s"], [60, "1.0 min"], [3599, "59.9 min"], [3600, "1.0 h"],
]) {
  test(`a duration of ${seconds} s is "${text}"`, () => assert.equal(duration(seconds), text));
}

for (const [before, text] of [[0, "just now"], [4.9, "just now"], [5, "5 s ago"], [59, "59 s ago"], [60, "1 min ago"], [3600, "1 h ago"], [86400, "1 d ago"]]) {
  test(`${before} s ago is "${text}"`, () => assert.equal(ago(utc(-before), NOON), text));
}

test("a time is told by this page's clock, and one that is none says so", () => {
  assert.equal(clock(NOON), new Date(NOON).toLocaleString([], { dateStyle: "medium", timeStyle: "medium" }));
  assert.equal(dayTime(new Date(2026, 0, 5, 0, 30, 5).toISOString()), "00:30:05");
  assert.deepEqual([clock(""), dayTime("soon")], ["Invalid Date", "Invalid Date"]);
});

test("what a wrong clock dated later than now is no time ago", () => {
  assert.equal(since(utc(60), NOON), 0);
  assert.equal(ago(utc(60), NOON), "just now");
});

for (const [after, text] of [[0.5, "now"], [1, "in 1 s"], [59.5, "in 60 s"], [60, "in 1 min"], [3599, "in 60 min"]]) {
  test(`${after} s ahead is "${text}"`, () => assert.equal(ahead(utc(after), NOON), text));
}

for (const [left, text] of [[720, "due by 07:00, 12 min left"], [45, "due by 07:00, 45 s left"], [7200, "due by 07:00, 2 h left"], [-1, "due by 07:00"], [400000, "due by 07:00"]]) {
  test(`${left} s before it is due: "${text}"`, () => {
    assert.equal(expectedText({ expected: { kind: "expected", due_utc: utc(/** @type {number} */ (left)) }, expected_text: "due by 07:00" }, NOON), text);
  });
}

test("from an hour on a time ahead is a time of day, with the day where it is another", () => {
  const at = (/** @type {number} */ day, /** @type {number} */ hour) => new Date(2026, 0, 5 + day, hour, 30);

  assert.equal(ahead(at(0, 20).toISOString(), at(0, 9).getTime()), `at 20:30 ${offset(at(0, 20))}`);
  assert.equal(ahead(at(1, 8).toISOString(), at(0, 9).getTime()), `tomorrow 08:30 ${offset(at(1, 8))}`);
  assert.match(ahead(at(3, 8).toISOString(), at(0, 9).getTime()), /^\S+ 08:30 UTC\S*$/);
});

test("a time ahead is told in the zone of its flow, which is named, with its day there", (context) => {
  const before = process.env.TZ;
  context.after(() => before === undefined ? delete process.env.TZ : process.env.TZ = before);
  process.env.TZ = "UTC";
  const now = Date.parse("2026-01-05T20:00:00Z"); // in Tokyo it is Tuesday

  assert.equal(ahead("2026-01-05T21:30:00Z", now, "America/New_York"), "at 16:30 America/New_York");
  assert.equal(ahead("2026-01-05T21:30:00Z", now, "Asia/Tokyo"), "tomorrow 06:30 Asia/Tokyo");
  assert.match(ahead("2026-01-06T17:30:00Z", now, "Asia/Tokyo"), /^Wed\S* 02:30 Asia\/Tokyo$/); // which is tomorrow only there
  assert.equal(ahead("2026-01-05T20:30:00Z", now, "Asia/Tokyo"), "in 30 min");
  assert.match(ahead("2026-01-05T21:30:00Z", now, "Mars/Olympus"), / UTC\S*$/);
});

for (const [minutes, text] of [[0, "UTC"], [-60, "UTC+1"], [570, "UTC-9:30"]]) {
  test(`a clock ${-minutes} min from UTC is at ${text}`, () => {
    assert.equal(offset(/** @type {Date} */ ({ getTimezoneOffset: () => minutes })), text);
  });
}

test("sizes, counts and progress", () => {
  assert.deepEqual([1023, 1024, 1048576, 1073741824].map(bytes), ["1023 B", "1.0 kB", "1.0 MB", "1.0 GB"]);
  assert.deepEqual([plural(0, "run"), plural(1, "run"), plural(2, "run")], ["0 runs", "1 run", "2 runs"]);
  const run = (/** @type {number | null} */ done, /** @type {number | null} */ total) => progressText({ done, total });
  assert.deepEqual([run(null, 5), run(2, 5), run(2, null)], ["", "2 of 5", "2"]);
});

test("the last part of a path, with either separator", () => {
  assert.deepEqual(["/in/a.csv", "C:\\in\\a.csv", "a.csv", "/in/"].map(nameOf), ["a.csv", "a.csv", "a.csv", ""]);
});

test("a search holds when every word is found, in any case and order", () => {
  assert.equal(matches("Daily flights poll", "POLL daily"), true);
  assert.equal(matches("Daily flights poll", "daily weekly"), false);
  assert.equal(matches("anything", "  "), true);
});

test("of paths the ends that tell them apart", () => {
  assert.deepEqual([...endsApart(["a/x/may.csv", "b/x/may.csv", "june.csv", "may.csv"])].sort(), [
    ["a/x/may.csv", "a/x/may.csv"], ["b/x/may.csv", "b/x/may.csv"], ["june.csv", "june.csv"], ["may.csv", "may.csv"],
  ]);
  assert.deepEqual([...endsApart(["in/2013/north/may.csv", "in/2014/south/may.csv"]).values()], ["north/may.csv", "south/may.csv"]);
});
