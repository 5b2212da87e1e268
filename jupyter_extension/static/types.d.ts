// What the panel's modules hand to each other, and what Python sends them. Only the type check reads this file.
// The interfaces named after classes of view.py and details.py have their fields; a test compares them.

export type Tone = "good" | "bad" | "warn" | "live" | "idle";
export type Shape = "disc" | "cross" | "square" | "diamond" | "triangle" | "play" | "ring" | "half" | "bar";

/** Why a button cannot be used now; null when it can. */
export type WhyNot = string | null;

// -- a workspace (view.py)

export interface Mark {
  word: string;
  tone: Tone;
  shape: Shape;
  kind: string;
}

/** Why something is so, for programs: its kind, and what goes with it. */
export interface Why {
  kind: string;
  [name: string]: unknown;
}

export interface LastRun {
  run_id: string;
  mark: Mark;
  at_utc: string;
  elapsed_s: number | null;
  cause: string | null;
  why: Why | null;
}

export interface FlowRow {
  name: string;
  title: string;
  group: string;
  mode: string;
  trigger: string;
  mark: Mark;
  state: string;
  reason: string | null;
  why: Why | null;
  next_run_utc: string | null;
  last: LastRun | null;
  deployment: string;
  deployment_kind: string;
  edit: string | null;
  is_rolled_back: boolean;
  shares_with: string | null;
  error: ErrorParts | null;
  enabled: boolean;
  held: number;
  waiting: number;
  is_failing: boolean;
  buttons: Record<string, WhyNot>;
  backfill: BackfillLine | null;
  expected: ExpectedLine | null;
  troubles: TroubleLine[];
  has_recovered: boolean;
  tz: string | null;
  digest?: string; // not in a snapshot of before
}

/** troubles.py */
export interface TroubleLine {
  id: string;
  kind: string;
  text: string;
  at_utc: string;
  good_utc: string | null;
  cells: CellPlace[];
}

/** What this browser was told of a trouble; `away` when a person has put that away. */
export interface Told extends TroubleLine {
  flow: string;
  away: boolean;
}

export interface ExpectedLine {
  kind: string;
  text: string;
  due_utc: string | null;
}

export interface BackfillLine {
  id: string;
  state: string;
  text: string;
  total: number;
  ended: number;
  failed: number;
  by: string;
  params: string;
}

/** What a backfill would run, as `Workspace.backfill(dry_run=True)` lists it. */
export interface BackfillView {
  total: number;
  digest: string;
  known?: { all: number; missing: number; failed: number };
  planned?: { source: string | null; scheduled_for: string | null }[];
}

/** What was typed for a backfill, and what it would run. */
export interface BackfillForm {
  since: string;
  until: string;
  where: string;
  reprocess: string;
  shown: BackfillView | null;
  error: ErrorParts | null;
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

export interface Notice {
  tone: string;
  text: string;
  fix: string | null;
  id?: string | null;
  at_utc?: string | null;
}

export interface PanelView {
  workspace_id: string;
  workspace_root: string;
  daemon: Mark;
  engine: Mark;
  lease: Mark;
  lease_line: string;
  heartbeat_age_s: number | null;
  takeover_in_s: number | null;
  buttons: Record<string, WhyNot>;
  groups: Group[];
  flows: Record<string, FlowRow>;
  active: ActiveRun[];
  notices: Notice[];
  footer: string[];
  empty: string | null;
  cluster: { text: string; link: string | null } | null;
  details: Record<string, string>;
  watch_line: string;
  not_flows?: string[]; // not in a snapshot of before
}

/** What turns one view into the next: changed parts, changed flows, and the flows that are gone. */
export interface ViewChange {
  set?: Partial<PanelView>;
  flows?: Record<string, FlowRow>;
  gone?: string[];
}

// -- one flow and one run (details.py)

export interface CellPlace {
  notebook: string;
  cell: number;
  line?: number | null;
}

export interface StepView {
  label: string;
  mark: Mark;
  started_at_utc: string | null;
  elapsed_s: number | null;
  error: string | null;
  output: string | null;
  inspect: WhyNot;
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
  why: Why | null;
  last: Mark | null;
  last_at_utc: string | null;
  run_id: string | null;
  retry: WhyNot;
  read: WhyNot;
}

/** files.py */
export interface FilesView {
  flow: string;
  total: number;
  groups: [string, string, number][];
  found: number;
  files: FileView[];
  notes: string[];
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
}

/** A parameter that a flow declares (flow/parameters.py, `as_json`). */
export interface ParameterView {
  name: string;
  kind: string;
  choices: string[];
  is_list: boolean;
  is_optional: boolean;
  has_default: boolean;
  default: Value | Value[];
  label: string;
  title: string;
  help: string;
  type: string;
}

export interface FlowView {
  name: string;
  title: string;
  description: string;
  path: string;
  about: [string, string][];
  parameters: ParameterView[] | null;
  last_params: Record<string, Value | Value[]> | null;
  warnings: string[];
  steps: StepView[];
  run_id: string | null;
  runs: RunView[];
  changes: [string, string[]][];
  gate: string;
  deployments: DeploymentView[];
  error: ErrorParts | null;
  error_cells: CellPlace[];
  digest?: string | null;
}

/** trends.py */
export interface TrendRow {
  name: string;
  words: string;
  picture: string;
  mark: Mark | null;
  unusual: [string, string][];
  more: number;
}

export interface TrendsView {
  said: string;
  rows: TrendRow[];
}

/** planning.py */
export interface PlanView {
  flow: string;
  mark: Mark;
  text: string;
  cells: [string, string[]][];
  html: string;
  needs: string[];
  live: string | null;
  digest: string | null;
}

/** What came of asking for the plan of a flow. */
export interface PlanOf {
  flow: string;
  runs: string | null;
  view: PlanView | null;
  error: ErrorParts | null;
}

export interface LogLine {
  at_utc: string;
  level: string;
  step: string | null;
  message: string;
}

export interface RunDetails {
  run: RunView;
  facts: [string, string][];
  flow: string;
  error: string | null;
  steps: StepView[];
  lines: LogLine[];
  left_out: number;
}

// -- answers to what the panel asks (actions.py)

export interface ErrorParts {
  what: string;
  where?: string | null;
  fix?: string | null;
}

/** The answer to an action: its result, or the error. What a result is depends on the action. */
export type Answer = { result?: any; error?: ErrorParts };

export interface WorkspaceName {
  root: string;
  id: string;
}

export interface Hello {
  workspaces?: WorkspaceName[];
  selected?: string | null;
  root_dir?: string;
  links?: Record<string, string>;
  lab?: string;
}

export interface Settings {
  machine: { collection_root: string | null };
  interpreter: { executable: string; kind: string };
  workspace: { file: string; warnings: string[] };
  places: Record<string, string>;
  version: string;
}

export interface SavedFrame {
  path: string;
  label: string;
  flow_name: string;
  step_name: string | null;
  source_path: string | null;
  artifact_kind: string;
  saved_at_utc: string;
  rows: number | null;
}

/** outputs.py */
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

export type Value = string | number | boolean | null;

export interface TablePage {
  kind: "table";
  name: string;
  columns: { name: string; dtype: string }[];
  rows: Value[][];
  total: number;
  offset: number;
  first: number;
  count: number;
  sheets: string[];
  has_quak: boolean;
}
export interface TextPage {
  kind: "text";
  name: string;
  text: string;
  is_cut: boolean;
  size_bytes: number;
}
export interface NotePage {
  kind: "note";
  name: string;
  note: string;
  size_bytes: number;
}
export type FilePage = TablePage | TextPage | NotePage;

export interface Filter {
  column: string;
  op: string;
  value: string | Value[];
}

export interface ColumnValues {
  column: string;
  values: { value: Value; count: number }[];
  is_cut?: boolean;
}

// -- how the panel asks (transport.js)

export type Heard =
  | { kind: "view"; view: PanelView }
  | { kind: "error"; error: ErrorParts }
  | { kind: "lost"; text: string };

export interface Transport {
  readonly kind: string;
  root: string | null;
  hello(path?: string | null, before?: string | null): Promise<Hello>;
  at(root: string): Transport;
  call(action: string, args?: object): Promise<Answer>;
  subscribe(listener: (message: Heard) => void): () => void;
}

/** What tells a workspace, as one machine keeps it, from any other of the same name. */
export interface Place {
  root: string;
}

/** The part of anywidget's model that the panel uses. */
export interface WidgetModel {
  on(event: string, heard: (message: any) => void): void;
  off(event: string, heard: (message: any) => void): void;
  send(message: object): void;
  get(name: "place"): Place;
}

// -- the page (dom.js)

export type Listener = (event: any) => void;

/** Attributes, properties and listeners; `html` sets the inside, `tick` makes text that changes with the clock. */
export interface Props {
  key?: string;
  [name: string]: string | number | boolean | null | undefined | Listener;
}

export interface VNode {
  tag: string;
  props: Props;
  key: string | undefined;
  children: Shown[];
}

export type Shown = VNode | string | number;

export type Child = VNode | string | number | null | undefined | false | Child[];

// -- the panel's state (panel.js)

export interface Condition {
  op: string;
  text: string;
}

/** A file that is looked into: the page shown, how it is sorted and filtered, and the filter that is being made. */
export interface Sheet {
  path: string;
  sheet?: string;
  offset: number;
  limit: number;
  sort: [string, boolean][];
  filters: Filter[];
  page: FilePage | null;
  said: string | null;
  busy?: boolean;
  menu: string | null;
  conditions: Condition[];
  chosen: Set<number>;
  values?: ColumnValues | null;
  valueSearch: string;
  /** The chunks of a long page that came, or are asked for (null), by their number. */
  chunks: Map<number, Value[][] | null>;
  /** The first row of a long page that is seen. */
  top: number;
  /** The cells that are chosen, by two corners: row of the page and column of each. */
  cells: { from: [number, number]; to: [number, number] } | null;
}

export interface OpenRun {
  id: string;
  details: RunDetails | null;
  said?: string | null;
  other?: string;
  differences?: [string, string][] | null;
}

export interface Parameter {
  name: string;
  value: string;
}

/** What the panel says of the last action. */
export interface Said {
  text: string;
  error?: boolean;
  fix?: string | null;
  again?: string | null;
}

export interface State {
  view: PanelView | null;
  takenAt: string | null;
  workspaces: WorkspaceName[];
  helloed: boolean;
  lost: string | null;
  problem: ErrorParts | null;
  tab: string;
  section: string;
  search: string;
  filter: string;
  closed: Set<string>;
  selected: string | null;
  details: FlowDetails | null;
  run: OpenRun | null;
  runLimit: number;
  runSearch: string;
  onlyFailed: boolean;
  trends: TrendsView | null;
  trendsSaid: string | null;
  files: FilesView | null;
  filesSaid: string | null;
  fileSearch: string;
  fileGroup: string;
  fileLimit: number;
  showParams: boolean;
  isDisabling: boolean;
  note: string;
  showKeys: boolean;
  backfill: BackfillForm | null;
  question: { text: string; answers: [string, () => unknown][] } | null;
  plan: PlanOf | null;
  planKey: string;
  params: Parameter[];
  typed: Record<string, string>;
  sheet: Sheet | null;
  frames: SavedFrame[] | null;
  written: OutputsView | null;
  writtenSearch: string;
  writtenLimit: number;
  settings: Settings | null;
  pending: Map<string, boolean>;
  ending: Set<string>;
  confirming: string | null;
  said: Said | null;
  away: Set<string>;
}

/** A flow's details, or why they cannot be had. */
export type FlowDetails = FlowView & { error_text?: string };

export interface MountOptions {
  snapshot?: PanelView;
  takenAt?: string;
  path?: string | null;
  before?: string | null;
  remember?: (root: string) => void;
  isWholePage?: boolean;
}

export interface ButtonOptions {
  primary?: boolean;
  small?: boolean;
  quiet?: boolean;
  square?: boolean;
  shape?: Shape;
  title?: string;
  busy?: string;
  confirm?: string;
  pending?: string;
  expanded?: boolean;
}
