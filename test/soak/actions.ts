/** Chooses what a round does, and notes in the model what may come of it. */
import { join } from 'node:path';
import type { Random } from '../../src/core/kit/index.ts';
import { changedState, newState, stateName, writeState, type DiskState } from './disk-state.ts';
import { oneState, theState, type Model, type ModelSnapshot, type ModelVolume } from './model.ts';

export type Verb =
  | 'import'
  | 'import --into'
  | 'snapshot create'
  | 'clone'
  | 'snapshot delete'
  | 'volume delete'
  | 'volume undelete'
  | 'gc'
  | 'export'
  | 'snapshot verify';

/** The verbs that are killed; `snapshot verify` runs beside them, and must succeed. */
export const KILLED_VERBS: readonly Verb[] = [
  'import',
  'import --into',
  'snapshot create',
  'clone',
  'snapshot delete',
  'volume delete',
  'volume undelete',
  'gc',
  'export',
];

export interface Action {
  readonly verb: Verb;
  /** As asked first. */
  readonly words: readonly string[];
  /** As asked again after a kill: it must succeed, whatever the kill left. */
  readonly again: readonly string[];
  /** Volumes and snapshots that it reads or changes. */
  readonly touches: readonly string[];
  /** What it makes or removes: after a kill, it may be there or not. */
  readonly subject: string | undefined;
  /** What the volume holds once an import into it succeeded. */
  readonly target?: DiskState;
  /** The file that an export writes. */
  readonly out?: string;
  /** What it makes, for the model. */
  readonly made?: { readonly volume: ModelVolume } | { readonly snapshot: ModelSnapshot };
}

export interface Limits {
  readonly pages: number;
  readonly volumesMax: number;
  readonly deletedMax: number;
  readonly snapshotsMax: number;
}

/** Part of the imports that write nearly all of the disk, in several segments. */
const FULL_PART = 0.12;

const GC_WORDS = ['store', 'gc', '--grace', '2s', '--yes', '--json'];

export interface PlanContext {
  readonly folder: string;
  readonly random: Random;
  readonly model: Model;
  readonly limits: Limits;
  /** Verbs that this build has. */
  readonly present: ReadonlySet<Verb>;
  /** Subjects of the round so far: nothing is deleted or made twice in one round. */
  readonly taken: Set<string>;
}

type Choice = readonly [weight: number, make: () => Action];

/** One action that makes sense now. The model knows what may come of it, and image files are written. */
export function chooseAction(context: PlanContext): Action {
  const choices = choicesNow(context);
  let at = context.random.float() * choices.reduce((sum, [weight]) => sum + weight, 0);
  for (const [weight, make] of choices) {
    at -= weight;
    if (at < 0) return noted(context, make());
  }
  return noted(context, importNew(context));
}

function noted(context: PlanContext, action: Action): Action {
  if (action.subject !== undefined) context.taken.add(action.subject);
  return action;
}

function choicesNow(context: PlanContext): Choice[] {
  const { model, limits, present, random, taken } = context;
  const free = <T extends { readonly name: string }>(things: readonly T[]): T[] =>
    things.filter(({ name }) => !taken.has(name));
  const available = model.volumesIn('available');
  const snapshots = [...model.snapshots.values()].filter(({ name }) => !taken.has(name));
  const choices: Choice[] = [];
  const offer = <T>(verb: Verb, weight: number, from: readonly T[], make: (one: T) => Action): void => {
    if (from.length > 0 && present.has(verb)) choices.push([weight, () => make(pick(random, from))]);
  };
  const room = available.length < limits.volumesMax ? [context] : [];
  offer('import', available.length < 2 ? 8 : 3, room, importNew);
  offer('clone', 5, room.length > 0 ? snapshots : [], (from) => clone(context, from));
  offer('import --into', 5, free(available), (volume) => importInto(context, volume));
  offer('snapshot create', 5, model.snapshots.size < limits.snapshotsMax ? free(available) : [], (volume) =>
    createSnapshot(context, volume),
  );
  offer('snapshot delete', model.snapshots.size >= limits.snapshotsMax - 1 ? 6 : 2, snapshots, deleteSnapshot);
  const mayDelete = model.volumesIn('deleted').length < limits.deletedMax && available.length > 1;
  offer('volume delete', 2, mayDelete ? free(available) : [], deleteVolume);
  offer('volume undelete', 3, free(model.volumesIn('deleted')), undeleteVolume);
  offer('gc', 4, taken.has('gc') ? [] : [context], collect);
  offer('export', 3, snapshots, (snapshot) => exportSnapshot(context, snapshot));
  offer('snapshot verify', 1, snapshots, verifySnapshot);
  return choices;
}

function pick<T>(random: Random, from: readonly T[]): T {
  return from[Math.floor(random.float() * from.length)] as T;
}

function importNew({ folder, random, model, limits }: PlanContext): Action {
  const name = model.nextName('v');
  const image = join(folder, `${name}.img`);
  const mappedPart = random.float() < FULL_PART ? 0.97 : 0.15 + 0.3 * random.float();
  const target = newState(random, limits.pages, model.nextGeneration(), mappedPart);
  writeState(image, target);
  const volume: ModelVolume = {
    name,
    image,
    imageState: target,
    possible: oneState(target),
    status: 'importing',
  };
  model.volumes.set(name, volume);
  const words = ['volume', 'import', image, '--name', name, '--json'];
  const again = [...words, '--if-not-exists'];
  return { verb: 'import', words, again, touches: [name], subject: name, made: { volume } };
}

/** Also rewrites most of the image at times, so that the import takes several segments. */
function importInto({ random, model }: PlanContext, volume: ModelVolume): Action {
  const part = random.float() < FULL_PART ? 0.9 : 0.01 + 0.04 * random.float();
  const before = volume.imageState ?? theState(volume.possible);
  const target = changedState(random, before, model.nextGeneration(), part);
  writeState(volume.image, target, volume.imageState);
  volume.imageState = target;
  volume.possible.set(stateName(target), target);
  const words = ['volume', 'import', volume.image, '--into', volume.name, '--json'];
  return { verb: 'import --into', words, again: words, touches: [volume.name], subject: volume.name, target };
}

function createSnapshot({ model }: PlanContext, volume: ModelVolume): Action {
  const name = model.nextName('s');
  // The very map: an import that this round starts later may be what the snapshot shows.
  const snapshot: ModelSnapshot = { name, volume: volume.name, states: volume.possible };
  model.snapshots.set(name, snapshot);
  const words = ['snapshot', 'create', volume.name, '--name', name, '--wait', '--json'];
  return {
    verb: 'snapshot create',
    words,
    again: [...words, '--if-not-exists'],
    touches: [volume.name, name],
    subject: name,
    made: { snapshot },
  };
}

function clone({ folder, model }: PlanContext, from: ModelSnapshot): Action {
  const name = model.nextName('c');
  const volume: ModelVolume = {
    name,
    image: join(folder, `${name}.img`),
    imageState: undefined,
    possible: new Map(from.states),
    status: 'importing',
  };
  model.volumes.set(name, volume);
  const words = ['volume', 'create', name, '--from-snapshot', from.name, '--json'];
  return {
    verb: 'clone',
    words,
    again: [...words, '--if-not-exists'],
    touches: [from.name, name],
    subject: name,
    made: { volume },
  };
}

function deleteSnapshot({ name }: ModelSnapshot): Action {
  const words = ['snapshot', 'delete', name, '--yes', '--json'];
  return { verb: 'snapshot delete', words, again: [...words, '--if-exists'], touches: [name], subject: name };
}

function deleteVolume({ name }: ModelVolume): Action {
  const words = ['volume', 'delete', name, '--yes', '--json'];
  return { verb: 'volume delete', words, again: [...words, '--if-exists'], touches: [name], subject: name };
}

function undeleteVolume({ name }: ModelVolume): Action {
  const words = ['volume', 'undelete', name, '--json'];
  return { verb: 'volume undelete', words, again: words, touches: [name], subject: name };
}

function collect(): Action {
  return { verb: 'gc', words: GC_WORDS, again: GC_WORDS, touches: [], subject: 'gc' };
}

function exportSnapshot({ folder, model }: PlanContext, { name }: ModelSnapshot): Action {
  const out = join(folder, `${model.nextName('out')}.img`);
  const words = ['snapshot', 'export', name, out, '--json'];
  return { verb: 'export', words, again: words, touches: [name], subject: undefined, out };
}

function verifySnapshot({ name }: ModelSnapshot): Action {
  const words = ['snapshot', 'verify', name, '--json'];
  return { verb: 'snapshot verify', words, again: words, touches: [name], subject: undefined };
}
