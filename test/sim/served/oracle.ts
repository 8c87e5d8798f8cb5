/**
 * The prefix oracle (C5): what has to be found of a volume after a process ended, the power was cut, another home took over, or
 * a home was lost. It is always a state that the volume was in, and one that contains
 *
 * - everything that the store was said to hold when the volume was opened, which therefore lies on one branch;
 * - in a home whose process ended: everything that was acknowledged there;
 * - in a home whose power was cut: everything that was flushed there;
 * - unless another home has written to the volume meanwhile: then the home sets its log aside, and finds that.
 */
import type { Tally } from '../tally.ts';
import { hold } from '../volume-ledger.ts';
import { History, isIn, stateText, type Branch, type Found, type State } from './history.ts';

/** What one home has of the volume, as its files tell. */
export class HomeView {
  readonly name: string;
  branch: Branch;
  /** It has opened the volume before: its log may have something. */
  hasLog = false;
  /** What the end of a process, or a power cut, must leave. */
  acknowledged: State;
  flushed: State;
  /** Since the branch was last compared with the volume. */
  isCut = false;
  isSetAside = false;
  /** Ever. */
  wasSetAside = false;
  /** Since when it serves the volume no more; undefined while it does. */
  awaySinceMs: number | undefined;
  /** It was away for so long that gc may have given up what it had begun. */
  wasAwayLong = false;
  /** It has asked for a barrier, ever. */
  hasBarrier = false;
  /** Commits of others since then that show in no state: barriers. */
  hiddenBefore = 0;

  constructor(name: string, branch: Branch) {
    this.name = name;
    this.branch = branch;
    this.acknowledged = branch.last;
    this.flushed = branch.last;
  }
}

const later = (a: State, b: State): State => (b.depth > a.depth ? b : a);

export interface Mark {
  readonly stored: State;
  readonly hidden: number;
}

export class Oracle {
  readonly tally: Tally;
  readonly history: History;
  /** The newest state that somebody was told the store has. */
  #stored: State;
  /** Barriers that may have been committed. */
  #hidden = 0;

  constructor(tally: Tally, sizeBytes: number) {
    this.tally = tally;
    this.history = new History(sizeBytes);
    this.#stored = this.history.empty;
  }

  newHome(name: string): HomeView {
    const { empty } = this.history;
    return new HomeView(name, this.history.begin(empty, { sectors: [], sizeBytes: empty.sizeBytes }));
  }

  /** To be taken before an opening begins: what others did by then, and not what they do while it is being looked at. */
  mark(): Mark {
    return { stored: this.#stored, hidden: this.#hidden };
  }

  acknowledge(home: HomeView, state: State): void {
    home.acknowledged = later(home.acknowledged, state);
  }

  flush(home: HomeView, state: State): void {
    home.flushed = later(home.flushed, state);
  }

  /** A home was told that this state is in the store. */
  store(home: HomeView, state: State): void {
    this.flush(home, state);
    const before = this.#stored;
    hold(
      isIn(state, before) || isIn(before, state),
      () => `C1 ${home.name} was told that the store has ${stateText(state)}, and it has ${stateText(before)}`,
    );
    this.tally.check('what is told to be in the store continues what is there');
    this.#stored = later(before, state);
  }

  barrier(home: HomeView): void {
    home.hasBarrier = true;
    this.#hidden += 1;
  }

  /**
   * What a home finds when it has opened the volume, and goes on from. `mark` was taken before the opening.
   */
  opened(home: HomeView, found: Found, mark: Mark): void {
    const required = !home.hasLog ? this.history.empty : home.isCut ? home.flushed : home.acknowledged;
    const why = (): string =>
      `; it had ${home.isCut ? 'flushed' : 'acknowledged'} ${stateText(required)}, and the store ${stateText(mark.stored)}`;
    const who = `${home.name}${home.isSetAside ? ' (its log was set aside)' : ''}`;
    const state = this.history.stateOf(found);
    hold(state !== undefined, () => `C5 ${who} finds what never was: ${home.branch.difference(found)}${why()}`);
    hold(isIn(mark.stored, state), () => `C5 ${who} finds ${stateText(state)}, without what the store had${why()}`);
    // The store has what this home has not: it was overtaken.
    const isOvertaken = home.isSetAside && (!isIn(state, home.branch.last) || this.#hidden > home.hiddenBefore);
    hold(isIn(required, state) || isOvertaken, () => `C5 ${who} finds ${stateText(state)}: writes are lost${why()}`);
    const how = !home.hasLog ? 'new home' : isOvertaken ? 'overtaken' : home.isCut ? 'power cut' : 'process end';
    this.tally.check(`prefix after: ${how}`);
    if (isIn(state, home.branch.last) && state !== home.branch.last)
      this.tally.event('openings without what was not promised');
    // One that its log still has is committed only now.
    if (home.hasBarrier) this.#hidden += 1;
    home.branch = this.history.begin(state, found);
    home.hasLog = true;
    home.acknowledged = state;
    home.flushed = state;
    home.isCut = false;
    home.isSetAside = false;
    home.hiddenBefore = mark.hidden;
  }

  /** A snapshot shows exactly what was before its barrier (C8). */
  snapshot(what: string, found: Found, least: State, most: State): void {
    const state = this.history.stateOf(found);
    hold(state !== undefined, () => `C8 ${what} shows what never was`);
    hold(
      isIn(least, state) && isIn(state, most),
      () => `C8 ${what} shows ${stateText(state)}, not between ${stateText(least)} and ${stateText(most)}`,
    );
    this.tally.check('a snapshot shows exactly what was acknowledged before it');
  }
}
