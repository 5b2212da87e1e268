// What Python sends to the page, made of its classes by `tests/panel/records.py`; do not edit. Only the type check reads this file.

import type { CellPlace, ParameterView } from "./types";

export type Tone = "good" | "bad" | "warn" | "live" | "idle";
export type Shape = "disc" | "cross" | "square" | "diamond" | "triangle" | "play" | "ring" | "half" | "bar";

/** Why something is so, for programs: its kind, and what goes with it. */
export interface Why {
  kind: string;
  [name: string]: any;
}

export interface Mark {
  word: string;
  tone: "good" | "bad" | "warn" | "live" | "idle";
  shape: "disc" | "cross" | "square" | "diamond" | "triangle" | "play" | "ring" | "half" | "bar";
  kind: string;
}

export interface Run {
  cause: string | null;
  run_id: string;
  flow: string;
  group: string;
  source: string | null;
  status: string;
  started_at_utc: string;
  finished_at_utc: string | null;
  elapsed_s: number | null;
  error: string | null;
  why: Why | null;
  from_the_future: boolean;
  trigger: RunTrigger | null;
  by: string | null;
  params: Record<string, any> | null;
  deployment_id: string | null;
  git_commit: string | null;
  git_dirty: boolean | null;
  python: string | null;
  environment: string | null;
  inputs: RunFile[];
  more_inputs: number;
  outputs: RunFile[];
  more_outputs: number;
  peak_memory_bytes: number | null;
  cpu_s: number | null;
  scheduled_for: string | null;
  checks: RunCheck[];
  rejected: number | null;
  edited?: string | null;
  schemas: Record<string, [string, string][]>;
  drift?: FrameChange[];
  reports?: RunReport[];
  metadata: Record<string, any>;
  warnings?: number | null;
  tz?: string | null;
}

export interface FrameChange {
  text: string;
  name: string;
  gone: string[];
  new: string[];
  retyped: [string, string, string][];
  until: string | null;
}

export interface RunTrigger {
  kind: string;
  detail: string | null;
}

export interface RunFile {
  path: string;
  size_bytes: number | null;
  modified_at_utc: string | null;
  rows: number | null;
  cell?: number | null;
  tables?: string[];
}

export interface RunCheck {
  check: string;
  rule: string;
  rows: number;
  failed: number;
  unknown: number;
}

export interface RunReport {
  path: string;
  digest: string;
  text: string;
}

export interface DeploymentStatus {
  kind: "as_deployed" | "not_deployed" | "edited" | "gone";
  cells: number[];
  error: string | null;
  helpers?: string[];
  goes_live_s?: number | null;
  shares_with?: string | null;
  file?: string;
  renamed_to?: string | null;
  moved_to?: string | null;
  rolled_back_to?: string | null;
  rolled_back_utc?: string | null;
  digest?: string;
}

export interface Problem {
  what: string;
  where: string | null;
  fix: string | null;
  places?: CellPlace[];
}

export interface PanelFlow {
  state: string;
  reason: string | null;
  deployment: string;
  edit: string | null;
  outdated: Record<string, number>;
  mark: Mark;
  state_text: string;
  is_failing: boolean;
  last_mark: Mark | null;
  expected_text: string | null;
  changed_text: string | null;
  name: string;
  group: string | null;
  title: string;
  mode: string;
  trigger: string;
  enabled: boolean;
  state_kind: "running" | "stopping" | "broken" | "not_deployed" | "manual" | "disabled" | "polling" | "scheduled" | "failing" | "unreachable" | "edit_broken" | "module_gone" | "poll_ready" | "schedule_ready" | "being_read";
  why: Why | null;
  deployment_status: DeploymentStatus;
  held: number;
  next_run_utc: string | null;
  last_run: Run | null;
  error: Problem | null;
  expected: Why | null;
  warned?: Why | null;
  tz?: string | null;
  disabled?: Why | null;
  retried?: number;
  rejected: number;
  drift?: FrameChange[];
  changed?: Why[];
  buttons: Record<string, string | null>;
  waits: string;
  backfill: Backfill | null;
  troubles: TroubleLine[];
  has_recovered: boolean;
  is_source_gone: boolean;
}

export interface TroubleLine {
  id: string;
  kind: string;
  text: string;
  at_utc: string;
  good_utc: string | null;
  cells: CellPlace[];
  run_id: string | null;
}

export interface Backfill {
  text: string;
  id: string;
  flow: string;
  state: string;
  total: number;
  ended: number;
  failed: number;
  left_s: number | null;
  kind: string;
  since: string | null;
  until: string | null;
  where: string | null;
  reprocess: string;
  params: Record<string, any>;
  by: string;
  at_utc: string;
  digest: string;
  waits_for: string | null;
  known?: Record<string, number>;
  planned?: PlannedRun[];
  runs?: Run[];
  tz?: string | null;
  nearest?: string[];
}

export interface PlannedRun {
  source: string | null;
  scheduled_for: string | null;
}

export interface Group {
  name: string;
  summary: string;
  flows: string[];
}

export interface ActiveRun {
  run_id: string;
  flow: string;
  group: string;
  source: string | null;
  started_at_utc: string;
  pid: number;
  in_daemon: boolean;
  step: string | null;
  step_started_at_utc: string | null;
  done: number | null;
  total: number | null;
  worker: string | null;
  stopping: boolean;
}

export interface PanelNotice {
  tone: string;
  text: string;
  fix: string | null;
  id: string | null;
  at_utc: string | null;
}

export interface ClusterFacts {
  text: string;
  scheduler: string;
  dashboard: string | null;
  workers: number;
  threads: number;
  in_use: number;
  trouble: string | null;
}

export interface PanelView {
  workspace_id: string;
  workspace_root: string;
  daemon: Mark;
  engine: Mark;
  lease: Mark;
  lease_line: string;
  heartbeat_age_s: number | null;
  buttons: Record<string, string | null>;
  groups: Group[];
  flows: Record<string, PanelFlow>;
  active: ActiveRun[];
  notices: PanelNotice[];
  empty: string | null;
  cluster: ClusterFacts | null;
  details: Record<string, string>;
  not_flows: string[];
}

export interface StepView {
  label: string;
  mark: Mark;
  started_at_utc: string | null;
  elapsed_s: number | null;
  error: string | null;
  output: string | null;
  inspect: string | null;
  rows: string;
}

export interface RunView {
  run_id: string;
  source: string | null;
  source_name: string | null;
  mark: Mark;
  started_at_utc: string;
  elapsed_s: number | null;
  cause: string | null;
  why: Why | null;
  error: string | null;
  cells: CellPlace[];
  from_the_future: boolean;
  began_by: string;
  params: string;
  warnings: number;
  ended_at_utc: string | null;
}

export interface FileView {
  path: string;
  name: string;
  mark: Mark;
  reason: string;
  error: string | null;
  why: Why | null;
  last: Mark | null;
  last_at_utc: string | null;
  run_id: string | null;
  retry: string | null;
  read: string | null;
}

export interface AlikeView {
  mark: Mark;
  reason: string;
  count: number;
}

export interface FilesView {
  flow: string;
  total: number;
  groups: [string, string, number][];
  found: number;
  files: FileView[];
  alike: AlikeView[];
  notes: string[];
  noted: string | null;
  progress: string | null;
  share: number | null;
  again_s: number;
}

export interface DeploymentView {
  id: string;
  word: string;
  at_utc: string;
  who: string;
  changed: string;
  git: string;
  note: string;
  rollback: string | null;
  compared: string;
}

export interface FlowView {
  name: string;
  title: string;
  description: string;
  path: string;
  about: [string, string][];
  parameters: ParameterView[] | null;
  last_params: Record<string, any> | null;
  warnings: string[];
  steps: StepView[];
  run_id: string | null;
  runs: RunView[];
  changes: [string, string[]][];
  gate: string;
  deployments: DeploymentView[];
  error: Problem | null;
  error_cells: CellPlace[];
  digest: string | null;
}

export interface TrendRow {
  name: string;
  words: string;
  picture: string;
}

export interface TrendsView {
  said: string;
  rows: TrendRow[];
}

export interface RejectedRows {
  flow: string;
  source: string | null;
  rows: number;
  rules: Record<string, number>;
  run_id?: string;
  path?: string;
}

export interface RejectedView {
  sources: RejectedRows[];
  rules: TrendRow[];
}

export interface OutputView {
  path: string;
  name: string;
  folder: string;
  flow: string;
  run_id: string;
  at_utc: string;
  size_bytes: number | null;
  rows: number | null;
  is_there: boolean | null;
  is_source_gone: boolean;
}

export interface OutputsView {
  total: number;
  found: number;
  files: OutputView[];
}
