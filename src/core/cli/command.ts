/** The base of every command: the global flags, and no output of its own by oclif. */
import { Command } from '@oclif/core';
import { globalFlags, type GlobalFlags } from './flags.ts';
import { Session } from './session.ts';
import { storeLocation, type StoreFlags } from './store-location.ts';

export abstract class SgwCommand extends Command {
  static override baseFlags = globalFlags;

  /** Opens the session of this run. Use it with `await using`, so that the gateway is closed. */
  protected session(flags: GlobalFlags): Session {
    return new Session(flags);
  }

  /** The same for a verb that can read a store alone, with `readStoreFlags`. */
  protected readingSession(flags: GlobalFlags & StoreFlags): Session {
    return new Session(flags, storeLocation(flags));
  }

  /** The same for a verb that takes the store otherwise. */
  protected storeSession(flags: GlobalFlags, store: string): Session {
    return new Session(flags, store);
  }

  /** Failures go to `main` untouched: it alone reports them and chooses the exit code. */
  protected override async catch(error: Error): Promise<never> {
    throw error;
  }
}
