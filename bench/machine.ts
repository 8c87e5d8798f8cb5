/** What the figures were taken on, as one paragraph in Markdown: figures of two machines do not compare. */
import os from 'node:os';
import { ARCHIVERS, qemuImg } from './peers.ts';
import { call } from './programs.ts';

/** Describes this machine, its load, and the programs compared. Names no host and no path. */
export function describeMachine(folder: string): string {
  const cpus = os.cpus();
  const memoryGib = Math.round(os.totalmem() / 1024 ** 3);
  const fileSystem = call({ argv: ['stat', '-f', '-c', '%T', folder] }).trim();
  const load = (os.loadavg()[0] ?? 0).toFixed(1);
  const machine = `${String(cpus.length)} x ${cpus[0]?.model.trim() ?? 'unknown processor'}, ${String(memoryGib)} GiB`;
  const system = `${os.type()} ${os.release()}, ${fileSystem}, load ${load} at the start`;
  const versions = new Set([qemuImg.version, ...ARCHIVERS.map((archiver) => archiver.version)]);
  const programs = [`Node.js ${process.versions.node}`, ...[...versions].filter((version) => version !== undefined)];
  const day = new Date().toISOString().slice(0, 10);
  return `Measured ${day} on ${machine}; ${system}.\nPrograms: ${programs.join('; ')}.\n`;
}
