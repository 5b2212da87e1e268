// What the panel's modules hand to each other, and what Python sends them. Only the type check reads this file.
// What Python's records are is in records.d.ts, which is made of their classes.

import type { FilesView, FileView, FlowView, OutputsView, PanelFlow, PanelView, RejectedView, RunView, Shape, StepView, TrendsView, TroubleLine, Why } from "./records";

export type * from "./records";

/** Why a button cannot be used now; null when it can. */
export type WhyNot = string | null;

// -- a workspace (view.py)

/** What this browser was told of a trouble; `away` when a person has put that away. */
export interface Told extends TroubleLine {
  flow: string;
  away: boolean;
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

/** What turns one view into the next: changed parts, changed flows, and the flows that are gone. */
export interface ViewChange {
  set?: Partial<PanelView>;
  flows?: Record<string, PanelFlow>;
  gone?: string[];
}

// -- one flow and one run (details.py)

export interface CellPlace {
  notebook: string;
  cell: number;
  line?: number | null;
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

/** What came of asking for the plan of a flow; `digest` changes with the code of the edit. */
export interface PlanOf {
  flow: string;
  runs: string | null;
  view: { html: string, live: string | null, digest: string | null } | null;
  error: ErrorParts | null;
}

/** A picture of lineage for a width in px, read at a time in ms. */
export interface LineagePicture {
  svg: string;
  edges: string[];
  said: string;
  width: number;
  at: number;
}

export interface LogLine {
  at_utc: string;
  level: string;
  step: string | null;
  message: string;
}

export interface RunDetails {
  run: RunView;
  reports: string[];
  facts: [string, string][];
  flow: string;
  error: string | null;
  /** the author's variables at the failing line, as short texts */
  locals: Record<string, string>;
  steps: StepView[];
  lines: LogLine[];
  left_out: number;
}

/** How a replay is opened in its notebook (status/openings.py). */
export interface Opening {
  run_id: string;
  flow: string;
  step: string;
  kept: string[];
  missing: Record<string, string>;
  locals: Record<string, string>;
  notebook: string | null;
  cell: string | null;
  /** numbers and ids of the cells that must have run */
  needs: [number, string][];
  text: string;
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
export interface ReportPage {
  kind: "page";
  name: string;
  html: string;
  size_bytes: number;
}
export type FilePage = TablePage | TextPage | NotePage | ReportPage;

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

/** Attributes, properties and listeners; `html` sets the inside, `drawn` is called with the element after that, `tick` makes text that changes with the clock. */
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
  differences?: Child;
  /** its replay, once a cell for it was added */
  opening?: Opening;
}

/** What the panel says of the last action. */
export interface Said {
  text: string;
  html?: string;
  error?: boolean;
  fix?: string | null;
  /** The flow whose files Backfill does again, and the one of which Retry tries held files again. */
  offers?: { backfill?: string, retry?: string };
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
  showTrend: boolean;
  trendsSaid: string | null;
  files: FilesView | null;
  filesSaid: string | null;
  held: FileView[];
  openFile: string | null;
  fileSearch: string;
  fileGroup: string;
  fileLimit: number;
  showParams: boolean;
  isDisabling: boolean;
  isMenuOpen: boolean;
  note: string;
  backfill: BackfillForm | null;
  question: { text: string; answers: [string, () => unknown][]; opener?: string | null } | null;
  plan: PlanOf | null;
  planKey: string;
  typed: Record<string, string>;
  sheet: Sheet | null;
  frames: SavedFrame[] | null;
  rejected: RejectedView | null;
  written: OutputsView | null;
  writtenSearch: string;
  writtenLimit: number;
  settings: Settings | null;
  pending: Map<string, boolean>;
  /** When the runs that were told to end were (ms). */
  ending: Map<string, number>;
  confirming: string | null;
  said: Said | null;
  away: Set<string>;
  /** The names of the flows that are chosen; null while nobody chooses. */
  chosen: Set<string> | null;
  /** The runs of today by flow, the newest first. */
  today: Record<string, RunView[]> | null;
  todaySaid: string | null;
  /** What feeds what: "" is the map, the others a step around what they are named after. */
  lineage: Record<string, LineagePicture>;
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
