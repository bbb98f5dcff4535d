//! Tests that run inside the system, as an ordinary task. Each prints one line, `test system::NAME ... ok` or
//! `test system::NAME ... FAILED: reason`; the last one done, the machine is switched off.
//!
//! The file `filter` of the boot archive, where there is one, has in each line a part of the full names of tests to run.
#![cfg_attr(target_os = "none", no_std, no_main)]

extern crate alloc;

mod debug;
mod devices;
mod events;
mod faults;
mod futures;
mod handles;
mod hostile;
mod ipc;
mod lives;
mod mappings;
mod memory;
mod path;
mod pointers;
mod registers;
mod streams;
mod support;
mod threads;

use rt::println;
use support::Outcome;

rt::entry!(run);

/// A test's name and what it does.
type Test = (&'static str, fn() -> Outcome);

macro_rules! tests {
    ($($module:ident: $($name:ident)*;)*) => {
        /// Every test, in the order in which they run.
        const TESTS: &[Test] = &[$($((concat!(stringify!($module), "::", stringify!($name)), $module::$name),)*)*];
    };
}

tests! {
    memory: boxes a_large_vec many_boxes many_boxes_beside_a_long_lived_one mixed_sizes;
    events: bits_are_taken_once time_never_goes_back the_two_clocks_agree timers_are_not_early timers_move_and_stop
        many_timers_fire_in_order threads_share_memory threads_leave_nothing_behind priorities_have_a_ceiling
        a_signal_wakes_who_waits d09_a_spinning_thread_loses_only_its_share registers_survive_switches;
    registers: quiet_calls_keep_them a_signal_keeps_those_of_both a_call_and_its_answer_keep_those_of_both
        turns_keep_those_of_all;
    memory: d11_fresh_memory_is_zero what_is_written_stays one_object_can_be_mapped_twice mappings_do_not_overlap sizes_have_limits
        contiguous_memory_has_an_address memory_is_charged_and_given_back;
    threads: a_contended_lock_takes_no_time a_lock_goes_round who_is_less_important_gets_on_with_its_lock
        values_go_through_a_channel_once threads_and_futures_share_a_channel blocking_leaves_nothing_behind;
    handles: unknown_numbers unknown_handles handles_are_not_truncated wrong_kinds missing_rights rights_never_grow
        the_suite_has_no_control d14_closed_handles badges;
    pointers: d02_reading d02_writing d02_a_good_address_still_works d02_mapping_addresses d07_thread_entries;
    ipc: words_round_trip labels_round_trip forged_headers a_server_cannot_call_its_client threads_call_each_other a_caller_learns_that_the_endpoint_is_gone leases_are_read leases_are_written
        leases_have_bounds_and_access d14_two_callers_do_not_mix;
    pointers: d02_lease_tables d02_leased_memory a_lease_of_no_bytes_needs_no_memory;
    lives: the_supervisor_refuses;
    faults: d01_null_read d01_write_code d01_jump_data d01_divide d01_invalid_opcode d08_port d09_cli d01_kernel_read d01_stack_overflow d01_breakpoint d01_alignment panic
        unknown_kind d01_jump_null d01_bad_stack d05_mapped_memory_is_never_executable unmapped_memory_is_gone heap_exhaustion_is_a_panic
        heap_exhaustion_can_be_handled a_task_picks_its_heap
        panic_with_a_bad_pointer exit_codes d09_a_spinning_task_is_killed d18_a_missed_heartbeat_kills d18_a_served_heartbeat_does_not;
    hostile: d01_every_exception d07_no_way_to_another_ring d07_flags_are_sanitised d09_nobody_holds_the_processor
        d21_nothing_left_over_is_usable d21_every_interrupt_number d21_two_segments_are_all
        d09_a_crowd_loses_only_its_share d03_leases_are_fetched_once d03_a_table_that_changes_is_never_mixed
        d13_the_next_life_answers_once d14_tokens_are_worth_nothing_elsewhere d15_sends_take_nothing d15_others_go_on_beside_a_flood
        d15_spawns_are_refused d18_the_supervisor_answers_while_a_driver_hangs d20_a_flood_neither_starves_nor_forges;
    pointers: d02_fault_records d02_lease_copies;
    devices: d22_device_memory_is_no_memory d22_who_dies_with_a_device d21_no_device_reaches_memory;
    mappings: d21_low_addresses d24_two_threads_map_and_unmap_at_once d24_a_life_that_ends_amid_a_large_mapping;
    handles: a_transferred_handle_has_fewer_rights handles_without_grant_stay a_handle_comes_with_a_reply
        d25_answers_bring_nothing_that_was_not_asked_for d25_requests_bring_nothing_that_is_not_taken
        d25_a_peer_sets_no_bits_but_those_it_was_given;
    ipc: replies_out_of_order d14_a_reply_is_good_once d14_a_reply_to_a_dead_caller_is_stale a_sent_message_needs_a_receiver
        a_kept_caller_waits_without_harm;
    lives: d13_a_call_to_a_dying_server_says_so d13_queued_requests_wait_for_the_next_life d13_waiting_callers_learn_that_nobody_comes
        d14_stale_lives_are_not_hit restart_keeps_the_argument_only_of_its_own_spawn d12_many_lives_leave_nothing_behind
        d18_a_crash_loop_is_given_up_and_pardoned a_killed_server_is_back_within_a_second;
    debug: only_what_the_table_names only_the_tasks_own_memory d07_registers_are_sanitised code_is_changed_for_that_life_alone
        lines_and_ports_are_those_of_the_task;
    futures: a_thousand_timers a_hundred_requests_are_answered_out_of_order cancellation_at_every_await_point
        a_dropped_call_keeps_its_memory an_idle_async_driver_takes_no_time calls_are_limited;
    streams: every_byte_comes_back cancellation_at_every_await_point;
    path: a_hundred_thousand_scancodes;
    memory: d11_a_dead_tasks_memory_is_found_nowhere d15_quotas a_line_reaches_the_ring d15_a_flooded_ring_keeps_the_newest
        d15_a_log_flood_is_refused log_arguments_are_checked;
}

fn run() {
    let archive = rt::archive::Archive::map();
    let filter = archive.and_then(|archive| core::str::from_utf8(archive.file("filter")?).ok()).unwrap_or_default();
    let (mut passed, mut failed) = (0, 0);
    let wanted = |name: &str| filter.lines().any(|part| name.contains(part)) || filter.is_empty();
    for &(name, test) in TESTS.iter().filter(|(name, _)| wanted(&alloc::format!("system::{name}"))) {
        // Should the test never end, this line is the last one and says which it was.
        println!("run system::{name}");
        match test() {
            Ok(()) => {
                passed += 1;
                println!("test system::{name} ... ok");
            }
            Err(reason) => {
                failed += 1;
                println!("test system::{name} ... FAILED: {reason}");
            }
        }
    }
    println!("suite: {passed} passed, {failed} failed");
    switch_off();
}

/// Ends the machine the clean way.
fn switch_off() {
    let Some(power) = rt::ipc::Endpoint::peer("power") else {
        println!("test system::switch_off ... FAILED: system.toml does not let the suite call power");
        return;
    };
    // Whoever comes back from this has failed.
    let Err(error) = driver_power::Client::new(power).shutdown();
    println!("test system::switch_off ... FAILED: {error}");
}
