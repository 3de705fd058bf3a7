// The whole public interface.
#pragma once

#include "brayton/dtype.h"
#include "brayton/error.h"
#include "brayton/executor.h"
#include "brayton/llm.h"
#include "brayton/request.h"
#include "brayton/tensor_view.h"
