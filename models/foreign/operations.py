"""Operations that a foreign SavedModel may run.

A foreign file is not trusted. What is listed computes on its inputs and on the model's own variables and tables; it
reaches neither files nor networks nor code outside of TensorFlow. What is not listed is refused: TensorFlow registers
some two thousand operations, and new ones with every version.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from tensorflow.python.framework import op_def_registry

_STRUCTURE = """
    Const Placeholder PlaceholderWithDefault Identity IdentityN NoOp StopGradient PreventGradient EnsureShape Snapshot
    PartitionedCall StatefulPartitionedCall StatelessIf If StatelessWhile While StatelessCase Case ToBool
    Switch Merge Enter Exit NextIteration LoopCond ControlTrigger FakeParam Assert CheckNumerics CheckNumericsV2
    VarHandleOp ReadVariableOp AssignVariableOp AssignAddVariableOp AssignSubVariableOp VarIsInitializedOp VariableShape
    ResourceGather ResourceGatherNd Variable VariableV2 Assign AssignAdd AssignSub IsVariableInitialized
    HashTable HashTableV2 MutableHashTable MutableHashTableV2 LookupTableFind LookupTableFindV2 LookupTableSize
    LookupTableSizeV2 LookupTableImport LookupTableImportV2 LookupTableInsert LookupTableInsertV2 LookupTableExportV2
    EmptyTensorList TensorListReserve TensorListFromTensor TensorListStack TensorListGetItem TensorListSetItem
    TensorListLength TensorListElementShape TensorListPushBack TensorListPopBack TensorListGather TensorListScatterV2
    TensorListResize TensorListConcatV2
"""
_ARRAYS = """
    Reshape ExpandDims Squeeze Transpose ConjugateTranspose Concat ConcatV2 Split SplitV Pack Unpack Tile Pad PadV2
    MirrorPad MirrorPadGrad Slice StridedSlice StridedSliceGrad Gather GatherV2 GatherNd ScatterNd TensorScatterAdd
    TensorScatterSub TensorScatterUpdate TensorScatterMax TensorScatterMin Reverse ReverseV2 ReverseSequence Roll Shape
    ShapeN Size Rank Fill ZerosLike OnesLike Range LinSpace BroadcastTo BroadcastArgs BroadcastGradientArgs Where Select
    SelectV2 OneHot Cast Bitcast DynamicPartition DynamicStitch ParallelDynamicStitch InvertPermutation Unique UniqueV2
    UniqueWithCounts ListDiff ConcatOffset MatrixDiag MatrixDiagV2 MatrixDiagV3 MatrixDiagPart MatrixDiagPartV2
    MatrixDiagPartV3 MatrixSetDiag MatrixSetDiagV2 MatrixSetDiagV3 MatrixBandPart Diag DiagPart SpaceToDepth
    DepthToSpace SpaceToBatch SpaceToBatchND BatchToSpace BatchToSpaceND ExtractImagePatches ExtractVolumePatches
    TopK TopKV2 NthElement InTopK InTopKV2 Bincount DenseBincount Bucketize LowerBound UpperBound UnravelIndex
"""
_MATHEMATICS = """
    Abs Neg Sign Add AddV2 AddN Sub Mul MulNoNan Div DivNoNan RealDiv FloorDiv TruncateDiv Mod FloorMod TruncateMod
    Reciprocal ReciprocalGrad Inv InvGrad Square Sqrt SqrtGrad Rsqrt RsqrtGrad Pow Exp Expm1 Log Log1p Xlogy Xlog1py
    Xdivy Sin Cos Tan Asin Acos Atan Atan2 Sinh Cosh Tanh TanhGrad Asinh Acosh Atanh Erf Erfc Erfinv Ndtri Lgamma
    Digamma Polygamma Igamma Igammac Zeta Betainc Sigmoid SigmoidGrad Floor Ceil Round Rint Maximum Minimum
    ClipByValue SquaredDifference Equal NotEqual ApproximateEqual Less LessEqual Greater GreaterEqual LogicalAnd
    LogicalOr LogicalNot BitwiseAnd BitwiseOr BitwiseXor Invert LeftShift RightShift IsNan IsInf IsFinite Sum Mean Prod
    Max Min All Any EuclideanNorm ArgMax ArgMin Cumsum Cumprod CumulativeLogsumexp MatMul BatchMatMul BatchMatMulV2
    BatchMatMulV3 Einsum Cross L2Loss SegmentSum SegmentMean SegmentMax SegmentMin SegmentProd UnsortedSegmentSum
    UnsortedSegmentMax UnsortedSegmentMin UnsortedSegmentProd Complex ComplexAbs Real Imag Conj Angle FFT FFT2D IFFT
    IFFT2D RFFT RFFT2D IRFFT IRFFT2D Cholesky MatrixInverse MatrixDeterminant MatrixSolve MatrixTriangularSolve Qr Svd
    SelfAdjointEigV2 LogMatrixDeterminant
"""
_NETWORKS = """
    Conv Conv2D Conv2DBackpropInput Conv2DBackpropFilter Conv3D DepthwiseConv2dNative
    DepthwiseConv2dNativeBackpropInput DepthwiseConv2dNativeBackpropFilter Dilation2D BiasAdd BiasAddV1 BiasAddGrad
    AvgPool AvgPoolGrad AvgPool3D MaxPool MaxPoolV2 MaxPoolGrad MaxPoolGradV2 MaxPoolWithArgmax MaxPool3D
    FractionalAvgPool FractionalMaxPool FusedBatchNorm FusedBatchNormV2 FusedBatchNormV3 FusedBatchNormGrad
    FusedBatchNormGradV2 FusedBatchNormGradV3 LRN LRNGrad Relu ReluGrad Relu6 Relu6Grad LeakyRelu LeakyReluGrad Elu
    EluGrad Selu SeluGrad Softplus SoftplusGrad Softsign SoftsignGrad Softmax LogSoftmax
    SoftmaxCrossEntropyWithLogits SparseSoftmaxCrossEntropyWithLogits FakeQuantWithMinMaxArgs
    FakeQuantWithMinMaxVars FakeQuantWithMinMaxVarsPerChannel QuantizeAndDequantizeV2 QuantizeAndDequantizeV3
    QuantizeAndDequantizeV4 QuantizeV2 Dequantize BlockLSTMV2 LSTMBlockCell GRUBlockCell
"""
_IMAGES = """
    DecodeJpeg DecodePng DecodeBmp DecodeGif DecodeWebP DecodeImage DecodeAndCropJpeg ExtractJpegShape EncodeJpeg
    EncodePng ResizeArea ResizeBicubic ResizeBicubicGrad ResizeBilinear ResizeBilinearGrad ResizeNearestNeighbor
    ResizeNearestNeighborGrad ScaleAndTranslate ScaleAndTranslateGrad CropAndResize CropAndResizeGradImage
    CropAndResizeGradBoxes ImageProjectiveTransformV2 ImageProjectiveTransformV3 AdjustContrast AdjustContrastv2
    AdjustHue AdjustSaturation RGBToHSV HSVToRGB DrawBoundingBoxes DrawBoundingBoxesV2 SampleDistortedBoundingBoxV2
    StatelessSampleDistortedBoundingBox ExtractGlimpse ExtractGlimpseV2
"""
_RANDOM = """
    RandomUniform RandomUniformInt RandomStandardNormal TruncatedNormal RandomShuffle Multinomial RandomGamma
    StatefulUniform StatefulUniformInt StatefulUniformFullInt StatefulStandardNormalV2 StatefulTruncatedNormal
    RngSkip RngReadAndSkip StatelessRandomUniform StatelessRandomUniformV2 StatelessRandomUniformInt
    StatelessRandomUniformIntV2 StatelessRandomUniformFullInt StatelessRandomUniformFullIntV2 StatelessRandomNormal
    StatelessRandomNormalV2 StatelessTruncatedNormal StatelessTruncatedNormalV2 StatelessRandomGetKeyCounter
    StatelessRandomGetKeyCounterAlg StatelessRandomGetAlg StatelessShuffle StatelessMultinomial
"""
_TEXT = """
    AsString StringJoin StringLength StringLower StringUpper StringStrip StringSplit StringSplitV2 StringFormat
    StringToNumber StringToHashBucket StringToHashBucketFast Substr RegexReplace RegexFullMatch StaticRegexReplace
    StaticRegexFullMatch DecodeBase64 EncodeBase64 DecodeRaw DecodePaddedRaw ParseExample ParseExampleV2
    ParseSingleExample
"""
ALLOWED = frozenset(" ".join((_STRUCTURE, _ARRAYS, _MATHEMATICS, _NETWORKS, _IMAGES, _RANDOM, _TEXT)).split())
_INITIALIZERS = ("saved_model_main_op", "legacy_init_op", "__saved_model_init_op", "saved_model_init_op")
"""Names of signatures and collections whose nodes are run once a SavedModel is loaded."""
_RESTORING = ALLOWED | {"Restore", "RestoreV2"}
"""What may run while the model's own variables are read."""


def refused_operations(graph: Any) -> tuple[str, ...]:
    """Return the names of operations that loading, calling or differentiating a SavedModel would run and must not.

    Every SavedModel holds operations that save it. They do no harm as long as nothing that is run leads to them, so
    what counts is what can be reached: from the outputs of signatures, the initializers, the functions of its objects,
    and the gradients that it registers.

    Args:
        graph: `MetaGraphDef` of the SavedModel.
    """
    library = graph.graph_def.library
    gradients = (*library.gradient, *library.registered_gradients)
    functions = {*graph.object_graph_def.concrete_functions, *(gradient.gradient_func for gradient in gradients)}
    walk = _Walk(graph, ALLOWED)
    walk.run(_nodes_that_are_run(graph), functions)
    restoring = _Walk(graph, _RESTORING)
    restoring.run([graph.saver_def.restore_op_name], ())
    return tuple(sorted(walk.refused | restoring.refused))


def _nodes_that_are_run(graph: Any) -> Iterator[str]:
    """Yield the nodes of the graph whose values are fetched; nodes that they need are not among them."""
    for name, signature in graph.signature_def.items():
        for info in signature.outputs.values():
            yield info.name
            yield from (part.name for part in info.composite_tensor.components)
            yield info.coo_sparse.values_tensor_name
        if name in _INITIALIZERS:
            yield from (info.name for info in signature.inputs.values())
    for name, collection in graph.collection_def.items():
        if name in _INITIALIZERS:
            yield from collection.node_list.value


class _Walk:
    """Walk over all operations that nodes and functions need, through the functions that they call.

    Attributes:
        refused: Operations that were found and are not allowed.
    """

    def __init__(self, graph: Any, allowed: frozenset[str]) -> None:
        self._nodes = {node.name: node for node in graph.graph_def.node}
        self._functions = {function.signature.name: function for function in graph.graph_def.library.function}
        self._allowed = allowed
        self.refused = set[str]()

    def run(self, fetched: Iterable[str], called: Iterable[str]) -> None:
        """Visit what the fetched nodes of the graph need, and the bodies of functions."""
        waiting = [*called]
        for node in self._needed(fetched):
            waiting += self._calls_of(node)
        seen = set[str]()
        while waiting:
            name = waiting.pop()
            if name in seen or name not in self._functions:
                continue
            seen.add(name)
            # All nodes of a body, needed for its results or not: those with side effects run in any case.
            for node in self._functions[name].node_def:
                waiting += self._calls_of(node)

    def _needed(self, fetched: Iterable[str]) -> Iterator[Any]:
        waiting, seen = [_node_name(name) for name in fetched], set[str]()
        while waiting:
            name = waiting.pop()
            if name in seen or name not in self._nodes:
                continue
            seen.add(name)
            yield self._nodes[name]
            waiting += map(_node_name, self._nodes[name].input)

    def _calls_of(self, node: Any) -> list[str]:
        """Return the functions that a node names, and take note of it if it is not allowed."""
        # A function of the name of an operation does not make that harmless: which of them runs is TensorFlow's choice.
        known = node.op in self._functions and op_def_registry.get(node.op) is None
        if not known and node.op not in self._allowed:
            self.refused.add(node.op)
        named = [node.op]
        for value in node.attr.values():
            named += [value.func.name, *(function.name for function in value.list.func)]
        return [name for name in named if name in self._functions]


def _node_name(tensor: str) -> str:
    """Return the node of a tensor: "dense" for "dense:0", and for the control input "^dense"."""
    return tensor.removeprefix("^").partition(":")[0]
