/** What is done to a group under load: each fault is done, lasts for a while, and is mended. */
import { renameSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import type { Random } from '../../../src/core/kit/index.ts';
import type { Member } from './member.ts';
import type { Network } from './net.ts';

export interface Scene {
  readonly members: readonly Member[];
  readonly network: Network;
  readonly random: Random;
  /** Folder of the object store. */
  readonly store: string;
  readonly volume: string;
  /** Who holds the volume now, as the members say. */
  holder(): Promise<Member>;
}

export interface Fault {
  /** Whether it can be done here. */
  readonly isPossible: (scene: Scene) => boolean;
  /**
   * Does it, and mends it. Calls `began` the moment that the holder is hit, with whether others go on by themselves while it
   * lasts.
   */
  readonly run: (scene: Scene, began: (goesOn: boolean) => void) => Promise<void>;
}

const DISK_MS = 7000;
const HOUR_S = 3600;

const lasting = (random: Random, fromMs: number, toMs: number): Promise<void> =>
  delay(fromMs + random.float() * (toMs - fromMs));

const other = (scene: Scene, than: Member): Member => {
  const others = scene.members.filter((member) => member !== than);
  const member = others[Math.floor(scene.random.float() * others.length)];
  if (member === undefined) throw new Error('a group has more than one member');
  return member;
};

const always = (): boolean => true;
const withCuts = ({ network }: Scene): boolean => network.canCut;

/** The links of `member` to all others. */
function isolate({ network, members }: Scene, member: Member, ways: 'both' | 'out' | 'in'): void {
  for (const one of members) {
    if (one === member) continue;
    if (ways !== 'in') network.cut(member.number, one.number);
    if (ways !== 'out') network.cut(one.number, member.number);
  }
}

/** Runs `during` while the store is not there. */
async function withoutStore({ store }: Scene, during: () => Promise<void>): Promise<void> {
  const away = `${store}-away`;
  renameSync(store, away);
  try {
    await during();
  } finally {
    renameSync(away, store);
  }
}

export const FAULTS = {
  'holder killed': {
    isPossible: always,
    run: async (scene, began) => {
      const holder = await scene.holder();
      await holder.kill();
      began(true);
      await lasting(scene.random, 0, 12_000);
      await holder.start();
    },
  },
  'replica killed': {
    isPossible: always,
    run: async (scene, began) => {
      const replica = other(scene, await scene.holder());
      await replica.kill();
      began(true);
      await lasting(scene.random, 0, 6000);
      await replica.start();
    },
  },
  'holder stopped': {
    isPossible: always,
    run: async (scene, began) => {
      const holder = await scene.holder();
      holder.signal('SIGSTOP');
      began(true);
      await lasting(scene.random, 500, 15_000);
      holder.signal('SIGCONT');
    },
  },
  'replica stopped': {
    isPossible: always,
    run: async (scene, began) => {
      const replica = other(scene, await scene.holder());
      replica.signal('SIGSTOP');
      began(true);
      await lasting(scene.random, 500, 10_000);
      replica.signal('SIGCONT');
    },
  },
  'holder cut off': {
    isPossible: withCuts,
    run: async (scene, began) => {
      isolate(scene, await scene.holder(), 'both');
      began(true);
      await lasting(scene.random, 1000, 12_000);
      scene.network.heal();
    },
  },
  'holder cut off one way': {
    isPossible: withCuts,
    run: async (scene, began) => {
      isolate(scene, await scene.holder(), scene.random.float() < 0.5 ? 'out' : 'in');
      began(true);
      await lasting(scene.random, 1000, 12_000);
      scene.network.heal();
    },
  },
  'a link cut': {
    isPossible: withCuts,
    run: async (scene, began) => {
      const holder = await scene.holder();
      const replica = other(scene, holder);
      scene.network.cut(holder.number, replica.number);
      if (scene.random.float() < 0.5) scene.network.cut(replica.number, holder.number);
      began(true);
      await lasting(scene.random, 1000, 10_000);
      scene.network.heal();
    },
  },
  'disk of the holder paused': {
    isPossible: ({ members }) => members.every(({ disk }) => disk.canPause),
    run: async (scene, began) => {
      const holder = await scene.holder();
      holder.disk.pause();
      began(true);
      await delay(DISK_MS);
      holder.disk.goOn();
    },
  },
  'disk of a replica paused': {
    isPossible: ({ members }) => members.every(({ disk }) => disk.canPause),
    run: async (scene, began) => {
      const replica = other(scene, await scene.holder());
      replica.disk.pause();
      began(true);
      await delay(DISK_MS);
      replica.disk.goOn();
    },
  },
  'clock jumped': {
    isPossible: ({ members }) => members.every(({ canJump }) => canJump),
    run: async (scene, began) => {
      const member = scene.random.float() < 0.6 ? await scene.holder() : other(scene, await scene.holder());
      member.jump((scene.random.float() < 0.5 ? -1 : 1) * Math.ceil(scene.random.float() * HOUR_S));
      began(true);
      await lasting(scene.random, 1000, 5000);
    },
  },
  'store gone': {
    isPossible: always,
    run: async (scene, began) => {
      await withoutStore(scene, async () => {
        began(true);
        await lasting(scene.random, 2000, 12_000);
      });
    },
  },
  'store gone, and the holder killed': {
    isPossible: always,
    run: async (scene, began) => {
      const holder = await scene.holder();
      await withoutStore(scene, async () => {
        await holder.kill();
        // Nobody can take over before the store is there again.
        began(false);
        await lasting(scene.random, 1000, 6000);
      });
      await lasting(scene.random, 0, 6000);
      await holder.start();
    },
  },
  'all killed': {
    isPossible: always,
    run: async (scene, began) => {
      await Promise.all(scene.members.map(async (member) => member.kill()));
      began(false);
      await Promise.all(
        scene.members.map(async (member) => {
          await lasting(scene.random, 0, 4000);
          await member.start();
        }),
      );
    },
  },
  'failover planned': {
    isPossible: always,
    run: async (scene, began) => {
      const holder = await scene.holder();
      began(true);
      await holder.sgw('group', 'failover', scene.volume, '--to', other(scene, holder).name);
    },
  },
} as const satisfies Readonly<Record<string, Fault>>;

export type FaultName = keyof typeof FAULTS;
