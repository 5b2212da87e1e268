// The part of JupyterLab that is used here. Only the type check reads this file; JupyterLab's own types would need a build.

/** Modules that JupyterLab shares with its extensions: by name, then by version. */
export type Scope = Record<string, Record<string, { get(): Promise<() => unknown> }>>;

export interface Signal<Sender, Args> {
  connect(heard: (sender: Sender, args: Args) => void): void;
}

export interface Widget {
  id: string;
  node: HTMLElement;
  title: { icon?: unknown; caption: string; dataset: Record<string, string> };
  parent: Widget | null;
  fit(): void;
  isAttached: boolean;
  isDisposed: boolean;
  addClass(name: string): void;
  dispose(): void;
}

export interface WidgetClass {
  new (): Widget;
  attach(widget: Widget, host: HTMLElement): void;
}

export interface Cell {
  node: HTMLElement;
  model: { type: string; id: string; sharedModel: { getMetadata(key: string): unknown } };
  ready: Promise<void>;
  editor: Editor | null;
}

export interface Editor {
  lineCount: number;
  focus(): void;
  setCursorPosition(position: { line: number; column: number }): void;
  revealPosition(position: { line: number; column: number }): void;
}

/** A file to open, and where in it: a code cell and a line of it, from 1; `root` is the workspace it is of. */
export interface FilePlace {
  path: string;
  cell?: number | null;
  line?: number | null;
  root?: string | null;
}

/** A replay: the notebook (null: a `.py`), the id of the cell that failed, and the text of the cell to add. */
export interface ReplayPlace {
  path: string | null;
  root: string;
  cell: string | null;
  text: string;
}

export interface SharedCell {
  cell_type: string;
  getSource(): string;
  getMetadata(key: string): unknown;
}

export interface Kernel {
  status: string;
  hasComm(id: string): boolean;
  requestExecute(content: { code: string; silent: boolean; store_history: boolean }): { done: Promise<unknown> };
}

/** A document that is open: a notebook's has cells in `content`. */
export interface DocumentWidget extends Widget {
  context: {
    path: string;
    ready: Promise<void>;
    model: {
      dirty: boolean;
      contentChanged: Signal<unknown, unknown>;
      metadataChanged: Signal<unknown, { key: string }>;
      sharedModel?: { cells?: SharedCell[] };
    };
    fileChanged: Signal<unknown, { path: string }>;
    pathChanged: Signal<unknown, unknown>;
    save(): Promise<void>;
  };
  revealed: Promise<void>;
  sessionContext: { session: { kernel: Kernel | null } | null };
  content: {
    widgets?: Cell[];
    activeCellIndex: number;
    model: { cells: { length: number }; sharedModel: { insertCell(at: number, cell: object): void; deleteCell(at: number): void } } | null;
    deselectAll(): void;
    rendermime: { createRenderer(mime: string): Renderer };
    scrollToCell(cell: Cell, align: string): Promise<void>;
  };
}

export interface Renderer extends Widget {
  renderModel(model: MimeModel): Promise<void>;
}

export interface MimeModel {
  data: Record<string, any>;
}

export interface Tracker {
  currentWidget: DocumentWidget | null;
  find(test: (widget: DocumentWidget) => boolean): DocumentWidget | undefined;
  widgetAdded: Signal<Tracker, DocumentWidget>;
}

export interface App {
  restored: Promise<unknown>;
  commands: {
    addCommand(id: string, options: object): void;
    execute(id: string, args?: object): Promise<any>;
    hasCommand(id: string): boolean;
  };
  shell: {
    currentWidget: Partial<DocumentWidget> | null;
    currentChanged: Signal<unknown, unknown>;
    add(widget: Widget, area: string, options: object): void;
    widgets(area: string): Iterable<Partial<DocumentWidget>>;
    activateById(id: string): void;
  };
}

/** What JupyterLab gives the plugin; null for what the application does not have. */
export interface Services {
  palette: { addItem(item: object): void } | null;
  launcher: { add(item: object): void } | null;
  statusBar: { registerStatusItem(id: string, item: object): void } | null;
  rendermime: { addFactory(factory: object, rank: number): void } | null;
  tracker: Tracker | null;
  restorer: { add(widget: Widget, name: string): void } | null;
}

/** `Notification` of @jupyterlab/apputils. */
export interface Notifications {
  emit(message: string, type: string, options: { autoClose: number | false; actions: object[] }): string;
  dismiss(id: string): void;
  manager: { changed: Signal<unknown, { type: string; notification: { id: string } }> };
}

export type ShowError = (title: string, message: string) => Promise<void>;

declare global {
  interface Window {
    _JUPYTERLAB?: Record<string, { init(scope: Scope): void; get(name: string): Promise<() => unknown> }>;
  }
}
