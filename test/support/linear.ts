/**
 * Whether what clients saw of a register could have happened one call after the other, each at some moment between when it was made
 * and when it was answered (linearizability). Every write has a value of its own, so it is decided in n log n steps: Gibbons and
 * Korach, "Testing shared memories", SIAM Journal on Computing 26 (1997), 4.
 */

export interface RegisterCall {
  readonly kind: 'read' | 'write';
  /** What was written, or what the read returned. */
  readonly value: number;
  /** Moments on one clock, no two the same; null: it was never answered, and may have happened or not. */
  readonly calledAt: number;
  readonly answeredAt: number | null;
}

interface Cluster {
  readonly value: number;
  writtenAt: number;
  /** The first answer to the write or a read of it, and the last call of one. */
  firstAnswer: number;
  lastCall: number;
  isRead: boolean;
  isAnswered: boolean;
}

/** Undefined when it could; else what contradicts. Reads that were never answered say nothing. */
export function notLinearizable(calls: readonly RegisterCall[], initial: number): string | undefined {
  const clusters = new Map<number, Cluster>();
  const begin = (value: number, writtenAt: number, answeredAt: number, isAnswered: boolean): void => {
    const cluster = { value, writtenAt, firstAnswer: answeredAt, lastCall: writtenAt, isRead: false, isAnswered };
    clusters.set(value, cluster);
  };
  begin(initial, Number.NEGATIVE_INFINITY, Number.NEGATIVE_INFINITY, true);
  for (const { kind, value, calledAt, answeredAt } of calls) {
    if (kind !== 'write') continue;
    if (clusters.has(value)) return `value ${value} was written twice`;
    begin(value, calledAt, answeredAt ?? Number.POSITIVE_INFINITY, answeredAt !== null);
  }
  for (const { kind, value, calledAt, answeredAt } of calls) {
    if (kind !== 'read' || answeredAt === null) continue;
    const cluster = clusters.get(value);
    if (cluster === undefined) return `a read at ${calledAt} returned ${value}, which nobody wrote`;
    if (answeredAt < cluster.writtenAt)
      return `a read was answered at ${answeredAt} with ${value}, which was written from ${cluster.writtenAt} on`;
    cluster.firstAnswer = Math.min(cluster.firstAnswer, answeredAt);
    cluster.lastCall = Math.max(cluster.lastCall, calledAt);
    cluster.isRead = true;
  }
  return contradiction([...clusters.values()].filter(({ isAnswered, isRead }) => isAnswered || isRead));
}

/** A value that is there from one moment to another surely, or somewhere between two. */
function contradiction(clusters: readonly Cluster[]): string | undefined {
  const surely = clusters.filter(({ firstAnswer, lastCall }) => firstAnswer < lastCall);
  surely.sort((a, b) => a.firstAnswer - b.firstAnswer);
  for (let i = 1; i < surely.length; i++) {
    const [before, now] = [surely[i - 1] as Cluster, surely[i] as Cluster];
    if (now.firstAnswer < before.lastCall)
      return `${told(before)} and ${told(now)} were both there at ${now.firstAnswer}`;
  }
  for (const { value, firstAnswer, lastCall } of clusters) {
    if (firstAnswer < lastCall) continue;
    const around = surely.find((other) => other.firstAnswer < lastCall && firstAnswer < other.lastCall);
    if (around !== undefined)
      return `${value} was there between ${lastCall} and ${firstAnswer}, when ${told(around)} was`;
  }
  return undefined;
}

const told = ({ value, firstAnswer, lastCall }: Cluster): string =>
  `${value} (answered at ${firstAnswer}, asked for still at ${lastCall})`;
