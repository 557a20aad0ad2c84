//! Mistakes that can be planted, each in the place that a rule of the protocol lives in: whoever checks the protocol must see every one
//! of them. Only with the feature `mutants`; without it nothing of this is in the code that runs.

use crate::core::Core;

/// A planted mistake.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(not(feature = "mutants"), allow(dead_code))]
pub enum Mutant {
    /// A refused try makes whoever tried the owner.
    RefusedTryOwns,
    /// A remove does not wait for those who drop their copies.
    RemoveDoesNotWait,
    /// An ACK that comes before its GRANT is dropped.
    EarlyAckDropped,
    /// Orders of the home do not wait for the request that they follow.
    NoAfterRule,
    /// A slot that was given away is free at once.
    GivenAwayIsFree,
    /// FETCHED is sent before the acks are in.
    FetchedBeforeAcks,
    /// An owner drops its copy when it asks to be rid of the naming.
    OwnerDropsAtEvict,
    /// An upgrade counts on a copy that was taken in the meantime.
    UpgradeKeepsCopy,
    /// What died with a node is not looked for.
    NoSalvage,
    /// Messages of older views and lives count.
    OldMessages,
    /// Nobody is told that somebody waits for a put.
    NoRevoke,
    /// A GRANT of an upgrade does not wait for the acks.
    AcksIgnored,
    /// A member reports while READs of the old view are under way.
    ReportBeforeReads,
    /// A home grants before all have reported.
    OpenBeforeReports,
    /// A home grants before the expelled are fenced.
    OpenBeforeFence,
    /// A reported copy may go before its home has decided.
    ReportedIsDropped,
    /// What nobody has was never touched, although its directory died.
    NoDoubt,
    /// The oldest of what is kept becomes the object.
    OldestKept,
    /// What is kept counts even if the device has newer bytes.
    KeptBeatsDevice,
    /// A removed object may still be kept somewhere.
    NoDiscard,
    /// Every DONE ends the transaction under way, whosever it is.
    AnyDone,
    /// A speculative READ is good wherever the location is right.
    SpeculationIgnoresPeriod,
    /// A shared period counts from the grab before it: who was invalidated knows of it too early.
    PeriodFromInvalidation,
    /// A slot in which a speculative READ may still land is used for what was granted.
    SpeculationKeepsLanding,
    /// A remove does not wait for a first touch that is under way.
    RemoveOvertakesFirstTouch,
    /// Who is refused to be rid of the naming counts as rid of it.
    RefusedEvictFrees,
    /// Orders of the home wait for our request, whichever they follow.
    AfterAnyRequest,
    /// A grab whose requester died never was, whoever has dropped a copy for it.
    DeadGrabNeverWas,
    /// Nobody acknowledges for a sharer that died.
    DeadSharerAwaited,
    /// Holds are given out though the lease has run out.
    HoldsWithoutLease,
    /// Two threads of a node have one hold together.
    ThreadsShareHold,
    /// Who waits for a program that died still gets its hold.
    CancelIgnored,
    /// A turn is as long as it was, though somebody left it.
    CancelKeepsTurn,
    /// Who takes a request back takes it for gone, though the home may have started it.
    CancelForgets,
    /// A home gives back what it has started.
    CancelTakesStarted,
    /// A home gives back whatever that node has in line.
    CancelTakesAny,
    /// A home goes on serving a set that has ended.
    DestroyedIsServed,
    /// Hits go on at a node that knows that the set has ended.
    DestroyedIsHit,
    /// Who waits for an object of a set goes on waiting when that has ended.
    DestroyKeepsWaiters,
    /// Who comes to know of no set that has ended.
    NewcomersNotTold,
    /// A home of a new view keeps what it has of sets that have ended.
    NoSweepOnOpen,
    /// A home gives requests back before it has decided about the copies that it was reported.
    CancelBeforeOpen,
    /// A home drops what it asks another node to take.
    InjectedIsFree,
    /// A slot into which an abandoned READ goes is free at once.
    AbandonedLandingIsFree,
    /// A member does not report before all holds of what a home lost are over.
    ReportAfterForgotten,
}

impl Mutant {
    /// All of them.
    #[cfg(feature = "mutants")]
    pub const ALL: &[Mutant] = &[
        Mutant::RefusedTryOwns,
        Mutant::RemoveDoesNotWait,
        Mutant::EarlyAckDropped,
        Mutant::NoAfterRule,
        Mutant::GivenAwayIsFree,
        Mutant::FetchedBeforeAcks,
        Mutant::OwnerDropsAtEvict,
        Mutant::UpgradeKeepsCopy,
        Mutant::NoSalvage,
        Mutant::OldMessages,
        Mutant::NoRevoke,
        Mutant::AcksIgnored,
        Mutant::ReportBeforeReads,
        Mutant::OpenBeforeReports,
        Mutant::OpenBeforeFence,
        Mutant::ReportedIsDropped,
        Mutant::NoDoubt,
        Mutant::OldestKept,
        Mutant::KeptBeatsDevice,
        Mutant::NoDiscard,
        Mutant::AnyDone,
        Mutant::SpeculationIgnoresPeriod,
        Mutant::PeriodFromInvalidation,
        Mutant::SpeculationKeepsLanding,
        Mutant::RemoveOvertakesFirstTouch,
        Mutant::RefusedEvictFrees,
        Mutant::AfterAnyRequest,
        Mutant::DeadGrabNeverWas,
        Mutant::DeadSharerAwaited,
        Mutant::HoldsWithoutLease,
        Mutant::ThreadsShareHold,
        Mutant::CancelIgnored,
        Mutant::CancelKeepsTurn,
        Mutant::CancelForgets,
        Mutant::CancelTakesStarted,
        Mutant::CancelTakesAny,
        Mutant::DestroyedIsServed,
        Mutant::DestroyedIsHit,
        Mutant::DestroyKeepsWaiters,
        Mutant::NewcomersNotTold,
        Mutant::NoSweepOnOpen,
        Mutant::CancelBeforeOpen,
        Mutant::InjectedIsFree,
        Mutant::AbandonedLandingIsFree,
        Mutant::ReportAfterForgotten,
    ];
}

impl Core {
    /// Whether `mutant` is planted here.
    #[inline]
    pub(crate) fn planted(&self, mutant: Mutant) -> bool {
        #[cfg(feature = "mutants")]
        return self.config.mutant == Some(mutant);
        #[cfg(not(feature = "mutants"))]
        {
            let _ = mutant;
            false
        }
    }
}
