/** What S3 servers do, each in its own way: docs/STORES.md. */
import type { Choices } from '../random.ts';
import { drawPlan, type FaultRates } from '../fault-plan.ts';

export interface Server {
  /** How it is known by its answers. */
  readonly name?: string;
  /**
   * - `atomic`: as they should be. - `looked-at-first`: looked at, and stored some time later. - `ignored`. - `refused`: 501.
   */
  readonly conditions: 'atomic' | 'looked-at-first' | 'ignored' | 'refused';
  /** Takes etags without their quotes only. */
  readonly bareEtags: boolean;
  /** Heeds If-Match on DELETE. */
  readonly conditionalRemovals: boolean;
  /** Stores under If-Match what is not there. */
  readonly replacesAbsent?: true;
  /** Answers 404 to If-Match of what is not there, and not 412. */
  readonly absentIs404?: true;
  /** What it says to some of several that write one key at once: 409 with nothing done, or 500, whatever was done. */
  readonly race?: 'conflict' | 'internal';
  /** Replicas answer reads and lists, so far behind at the most. */
  readonly lagMsMax?: number;
  /** False: what is kept beside an object is lost. */
  readonly keepsMetadata?: false;
}

export interface Dialect {
  readonly name: string;
  readonly about: string;
  readonly server: Server;
  /** Whether `store check` takes it for writing. Then every rule holds over it. */
  readonly verdict: 'holds' | 'refused';
  /** Chance that a request that was sent arrives once more, later, from something on the way. */
  readonly copies?: number;
  /** Rates of faults instead of those that the seed draws. */
  readonly rates?: FaultRates['rates'];
}

const AWS: Server = {
  name: 'AmazonS3',
  conditions: 'atomic',
  bareEtags: false,
  conditionalRemovals: true,
  absentIs404: true,
  race: 'conflict',
};
const CEPH: Server = {
  name: 'Ceph RGW',
  conditions: 'atomic',
  bareEtags: true,
  conditionalRemovals: false,
  race: 'internal',
};

export const DIALECTS: readonly Dialect[] = [
  {
    name: 'aws',
    about: '409 to some that write one key at once, 503 SlowDown, 404 to If-Match of what is not there',
    server: AWS,
    verdict: 'holds',
  },
  {
    name: 'rgw',
    about: 'etags without quotes, 500 to some that write one key at once, removals without conditions',
    server: CEPH,
    verdict: 'holds',
  },
  {
    name: 'lossy',
    about: 'replies are lost, and the same request again meets its own success; 409s',
    server: AWS,
    verdict: 'holds',
    rates: { lostReply: 0.08, conflict409: 0.04, error500: 0.02, crash: 0.002, stall: 0.002, delay: 0.01 },
  },
  {
    name: 'nameless',
    about: 'as lossy, and nothing is kept beside objects: nobody knows his own by its name',
    server: { ...CEPH, keepsMetadata: false },
    verdict: 'holds',
    rates: { lostReply: 0.08, conflict409: 0.02, error500: 0.02, crash: 0.002, delay: 0.01 },
  },
  {
    name: 'copying',
    about: 'a request arrives twice: the second time up to a quarter of an hour later, behind what others wrote',
    server: { ...AWS, conditionalRemovals: false },
    verdict: 'holds',
    copies: 0.15,
  },
  {
    name: 'late',
    about: 'a request takes effect after its client gave up',
    server: { ...CEPH, bareEtags: false },
    verdict: 'holds',
    rates: { lateApply: 0.06, delay: 0.06, lostReply: 0.01, crash: 0.004, stall: 0.002 },
  },
  {
    name: 'swift',
    about: '501 to every condition',
    server: { name: 'Swift', conditions: 'refused', bareEtags: false, conditionalRemovals: false },
    verdict: 'refused',
  },
  {
    name: 'heedless',
    about: 'conditions are ignored, as by Ceph in versioned buckets',
    server: { ...CEPH, conditions: 'ignored' },
    verdict: 'refused',
  },
  {
    name: 'looking',
    about: 'a condition is looked at, and the object stored a moment later: updates are lost',
    server: { conditions: 'looked-at-first', bareEtags: false, conditionalRemovals: false },
    verdict: 'refused',
  },
  {
    name: 'reviving',
    about: 'If-Match of what is not there makes it, as by MinIO of 2025',
    server: { ...AWS, replacesAbsent: true },
    verdict: 'refused',
  },
  {
    name: 'eventual',
    about: 'reads and lists show what was there some seconds ago',
    server: { ...AWS, lagMsMax: 10_000 },
    verdict: 'refused',
  },
];

export function dialectOf(name: string): Dialect {
  const found = DIALECTS.find((dialect) => dialect.name === name);
  if (found !== undefined) return found;
  throw new Error(`no dialect is named ${name}; there are: ${DIALECTS.map((each) => each.name).join(', ')}`);
}

/** The plan of a seed over a dialect. */
export function planOf({ rates }: Dialect, choices: Choices): FaultRates {
  const drawn = drawPlan(choices);
  return rates === undefined ? drawn : { ...drawn, rates, jump: Math.max(drawn.jump ?? 0, 0.002) };
}
