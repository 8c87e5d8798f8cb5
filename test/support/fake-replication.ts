/** A replication that says what a test wants it to, for what asks one. */
import type { VolumeId } from '../../src/core/kit/index.ts';
import type { GroupDocument } from '../../src/core/protocol/index.ts';
import type { GroupVolumeReport, Replication } from '../../src/core/replication/index.ts';

export class FakeReplication implements Replication {
  reports: GroupVolumeReport[] = [];
  linkedTo: string[] = [];
  readonly held = new Set<VolumeId>();
  readonly asked: { volumeId: VolumeId; to: string | undefined; acceptLoss: boolean }[] = [];
  known: GroupDocument | undefined;
  reloads = 0;
  /** What a take-over does. */
  onFailOver: (volumeId: VolumeId, to: string | undefined) => Promise<void> = async () => Promise.resolve();

  async start(): Promise<void> {
    await Promise.resolve();
  }
  sinkOf(): undefined {
    return undefined;
  }
  opened(): void {
    // Nothing is replicated.
  }
  closed(): void {
    // Nothing is replicated.
  }
  async exportTold(): Promise<void> {
    return Promise.resolve();
  }
  group(): GroupDocument | undefined {
    return this.known;
  }
  async report(): Promise<readonly GroupVolumeReport[]> {
    return Promise.resolve(this.reports);
  }
  linked(): readonly string[] {
    return this.linkedTo;
  }
  holds(volumeId: VolumeId): boolean {
    return this.held.has(volumeId);
  }
  async failOver(volumeId: VolumeId, to: string | undefined, acceptLoss: boolean): Promise<void> {
    this.asked.push({ volumeId, to, acceptLoss });
    await this.onFailOver(volumeId, to);
  }
  async reload(): Promise<void> {
    this.reloads += 1;
    return Promise.resolve();
  }
  async stop(): Promise<void> {
    return Promise.resolve();
  }
}
